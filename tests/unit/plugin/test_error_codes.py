# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The code and the type of an error stay the same when its message or its class gets another name."""

from __future__ import annotations

import pytest
from api_server import Api

from batchy_provider import exceptions
from batchy_provider.config.reader import InvalidFilesError
from batchy_provider.exceptions import BatchyError
from batchy_provider.plugin.error_codes import ERROR_CODES, ERROR_KINDS, kind_of


def test_each_error_of_the_exceptions_module_has_an_entry_of_its_own() -> None:
    found = [cls for cls in vars(exceptions).values() if isinstance(cls, type) and issubclass(cls, BatchyError)]
    assert {cls for cls in found if cls not in ERROR_KINDS} <= {exceptions.StackError}  # of the command line alone


def test_types_are_those_of_the_first_release() -> None:
    assert kind_of(InvalidFilesError([])).type == "FaultsError"
    assert {kind.type for kind in ERROR_KINDS.values()} >= {
        "OutsideError",
        "BatchHeldError",
        "WindowError",
        "ConfigError",
    }
    assert {kind.code for kind in ERROR_KINDS.values()} <= {*ERROR_CODES}


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", "workflows/nobody", None, 404, "unknown_workflow"),
        ("GET", "workflows/sales/batches/999999", None, 404, "unknown_batch"),
        ("GET", "workflows/sales/batches/none", None, 422, "invalid_request"),
        ("GET", "nothing", None, 404, "not_found"),
        ("PUT", "workflows/sales/window", {"from_date": "2999-01-01"}, 422, "invalid_window"),
        ("POST", "workflows/sales/batches/999999/close", None, 404, "unknown_batch"),
        ("POST", "uploads", None, 403, "upload_off"),
    ],
)
def test_each_error_has_a_code(api: Api, method: str, path: str, body: object, status: int, code: str) -> None:
    client = api.client()
    client.post("/api/v1/workflows/sales/load")
    answer = client.request(method, f"/api/v1/{path}", json=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
