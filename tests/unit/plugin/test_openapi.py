# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The API against its own OpenAPI document: every request gets a response that the document has, and no 500."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest
import schemathesis
from api_server import Api, token
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from thoroughness import scaled

CHECKS = [not_a_server_error, content_type_conformance, response_schema_conformance, status_code_conformance]


def reaches_us(case: Any) -> bool:
    """Tell whether a request reaches the plugin: Airflow itself answers paths with a line break."""
    return not any(
        "%0a" in quote(str(value)).lower().replace("%25", "%") for value in (case.path_parameters or {}).values()
    )


@pytest.mark.slow
def test_every_response_is_in_the_document(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__BATCHY__ALLOW_UPLOAD", "True")
    api.client().post("/api/v1/workflows/sales/load")
    headers = {"Authorization": f"Bearer {token('admin')}"}
    schema = schemathesis.openapi.from_asgi("/batchy/api/v1/openapi.json", api.app, headers=headers)
    asked = set()
    for result in schema.exclude(path_regex="/events$").get_all_operations():
        operation = result.ok()
        asked.add(operation.path)

        @settings(max_examples=scaled(6), suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy().filter(reaches_us))
        def ask(case: Any) -> None:
            # Half of all questions would be about workflows that nobody has.
            if "workflow" in case.path_parameters and len(str(case.path_parameters["workflow"])) % 2:
                case.path_parameters["workflow"] = "sales"
            if case.path.endswith("/wait"):  # which would wait for up to a minute each time
                case.query = {**(case.query or {}), "timeout": 0}
            case.call_and_validate(headers=headers, checks=CHECKS)

        ask()
    assert len(asked) > 15
