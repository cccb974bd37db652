# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""A client of the original Batchy server works as before, with a new address and a token."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from api_server import Api


class OldClient:
    """
    As the original's description has it: GET, a path for each operation, JSON job → fields as the answer.

    :param http: knows the address and the token; the rest of it is old.
    """

    def __init__(self, http: httpx.Client) -> None:
        self._http = http

    def call(self, operation: str, workflow: str, form: str = "") -> Any:
        answer = self._http.get(f"/{operation}/{workflow}{form}")
        assert answer.status_code == 200, answer.text
        return answer.json() if form != "/infa" else answer.text

    def is_done_today(self, workflow: str, today: str) -> bool:
        """Tell what Waitsy waits for: every job of the workflow has succeeded today."""
        jobs = self.call("get_status", workflow).values()
        return all(job["status"] == "success" and (job["batch_end"] or "").startswith(today) for job in jobs)


@pytest.fixture
def old(api: Api) -> OldClient:
    return OldClient(api.client())


def test_a_whole_night(old: OldClient) -> None:
    loaded = old.call("load_cfg", "sales")
    assert {job["status"] for job in loaded.values()} == {"new"}
    opened = old.call("open_batch", "sales", "/json")
    assert list(opened) == ["extract", "load"]
    assert {job["status"] for job in opened.values()} == {"open"}
    today = opened["load"]["batch_start"][:10]
    assert not old.is_done_today("sales", today)
    failed = old.call("fail_batch", "sales")
    assert {job["status"] for job in failed.values()} == {"failed"}
    again = old.call("open_batch", "sales")
    assert again["load"]["from_date"] == opened["load"]["from_date"]
    assert old.call("close_batch", "sales")["load"]["status"] == "success"
    assert old.is_done_today("sales", today)
    after = old.call("open_batch", "sales")
    assert after["load"]["from_date"] == again["load"]["batch_start"]


def test_the_parameter_file(old: OldClient) -> None:
    text = old.call("open_batch", "sales", "/infa")
    assert "[extract]" in text
    assert "$$region=eu" in text


def test_an_unknown_format_opens_nothing(api: Api, old: OldClient) -> None:
    old.call("load_cfg", "sales")
    assert api.client().get("/open_batch/sales/xml").status_code == 422
    assert {job["status"] for job in old.call("get_status", "sales").values()} == {"new"}


def test_bodies_are_indented_and_post_works_too(api: Api) -> None:
    answer = api.client().post("/load_cfg/sales")
    assert answer.text == json.dumps(answer.json(), indent=4)
    assert "open_batch/<workflow>" in api.client().get("/index").text


def test_an_unopened_batch_is_not_closed_and_an_unknown_workflow_is_a_404(api: Api, old: OldClient) -> None:
    old.call("load_cfg", "sales")
    assert api.client().get("/close_batch/sales").status_code == 409
    assert api.client().get("/get_status/nobody").status_code == 404
