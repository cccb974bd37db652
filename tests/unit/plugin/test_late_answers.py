# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The overview in a real Chromium on a slow network: answers that come late, or in another order than the questions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import page_files
import pytest
from playwright.sync_api import Browser, Page, Route, expect
from pydantic import TypeAdapter

from batchy_provider.plugin.overview_rows import FILTERS, OverviewRow

HOST = "http://batchy.test"
SECONDS_60 = 60_000


class SlowServer:
    """Serves the page. Answers to a search wait until the test lets them go."""

    def __init__(self) -> None:
        self.waiting: dict[str, Route] = {}

    def serve(self, route: Route) -> None:
        if page_files.path_of(route) != "api/v1/overview":
            page_files.answer(route)
        elif search := parse_qs(urlsplit(route.request.url).query).get("search", [""])[0]:
            self.waiting[search] = route
        else:
            route.fulfill(json=overview("first"))

    def answer(self, search: str) -> None:
        self.waiting.pop(search).fulfill(json=overview(search))


def overview(workflow: str) -> dict[str, Any]:
    row = json.loads(TypeAdapter(OverviewRow).dump_json(OverviewRow(workflow=workflow, status="success")))
    counts = {**dict.fromkeys(FILTERS, 0), "all": 1, "failures": 0}
    page = {"items": [row], "total": 1, "limit": 50, "offset": 0, "counts": counts, "tags": {}, "owners": {}}
    return {**page, "editable": [], "may_upload": False, "cfg_folder": "cfg"}


@pytest.fixture
def server() -> SlowServer:
    return SlowServer()


@pytest.fixture
def shown(server: SlowServer, browser: Browser) -> Iterator[Page]:
    page = browser.new_page()
    page.set_default_timeout(SECONDS_60)
    page.route("**/*", server.serve)
    page.goto(f"{HOST}/batchy/page")
    row_of(page, "first").wait_for()
    yield page
    page.close()


def row_of(page: Page, workflow: str) -> Any:
    return page.get_by_role("row").filter(has=page.get_by_role("link", name=workflow, exact=True))


def search(page: Page, server: SlowServer, text: str) -> None:
    page.get_by_label("Search workflows").fill(text)
    while text not in server.waiting:
        page.wait_for_timeout(50)


@pytest.mark.slow
def test_an_answer_to_an_earlier_question_is_not_shown(shown: Page, server: SlowServer) -> None:
    search(shown, server, "earlier")
    search(shown, server, "later")
    server.answer("later")
    expect(row_of(shown, "later")).to_be_visible(timeout=SECONDS_60)
    server.answer("earlier")
    shown.wait_for_timeout(300)
    expect(row_of(shown, "later")).to_be_visible()
    expect(row_of(shown, "earlier")).to_have_count(0)


@pytest.mark.slow
def test_a_late_answer_is_said_to_be_late(shown: Page, server: SlowServer) -> None:
    status = shown.get_by_role("status").filter(has_text="Loading…")
    expect(status).to_have_count(0)
    before = row_of(shown, "first").bounding_box()
    search(shown, server, "later")
    expect(status).to_be_visible(timeout=SECONDS_60)
    expect(shown.locator("[aria-busy=true]")).to_have_count(1)
    assert row_of(shown, "first").bounding_box() == before  # nothing moves away from under the pointer
    server.answer("later")
    expect(status).to_have_count(0, timeout=SECONDS_60)
    expect(shown.locator("[aria-busy=true]")).to_have_count(0)
