# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The overview in a real Chromium: no row pushes the table beyond a laptop's window, whatever it has to say."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import page_files
import pytest
from playwright.sync_api import Browser, Page, Route
from pydantic import TypeAdapter

from batchy_provider.plugin.overview_rows import FILTERS, OverviewRow

HOST = "http://batchy.test"
DATE = "2026-11-30T05:39:00"
RUNS = OverviewRow(
    workflow="runs",
    status="open",
    batch_id=1,
    from_date=DATE,
    to_date=DATE,
    started=DATE,
    holder="the run scheduled__2026-11-30T05:39:00+00:00",
    progress={"load": {"progress": 1, "message": "loading"}},
    in_cfg=True,
    has_dag=True,
)
FULL = OverviewRow(
    workflow="waits",
    status="failed",
    batch_id=2,
    from_date=DATE,
    to_date=DATE,
    last_success="2025-12-30T05:39:00",
    in_cfg=True,
    has_dag=True,
    deadline=DATE,
    late_seconds=100_000,
    next_run=DATE,
    next_from=DATE,
    waits_for=["some_other_workflow"],
    waited_for_by=["one_more_workflow"],
)


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """The overview of two workflows, each with all that its row can have, and why; the user may choose both."""
    rows = [json.loads(TypeAdapter(OverviewRow).dump_json(row)) for row in (RUNS, FULL)]
    answers: dict[str, Any] = {
        "api/v1/overview": {
            **{"items": rows, "total": 2, "limit": 50, "offset": 0, "tags": {}, "owners": {}, "may_upload": False},
            "counts": {**dict.fromkeys(FILTERS, 0), "all": 2, "failures": 1},
            "editable": ["runs", "waits"],
            "cfg_folder": "cfg",
        },
        "api/v1/why": [{"workflow": "waits", "text": "it has failed, and nobody has acknowledged it " * 3}],
    }

    def serve(route: Route) -> None:
        found = answers.get(page_files.path_of(route))
        if found is None:
            page_files.answer(route)
        else:
            route.fulfill(json=found)

    page = browser.new_page()
    page.set_default_timeout(60_000)
    page.route("**/*", serve)
    yield page
    page.close()


@pytest.mark.slow
@pytest.mark.parametrize("width", [1101, 1280, 1440])
def test_a_row_with_all_that_there_is_fits(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(f"{HOST}/batchy/page")
    page.get_by_role("link", name="waits", exact=True).first.wait_for()
    page.get_by_text("nobody has acknowledged it").wait_for()
    table = page.locator(".scroll")
    assert table.evaluate("(each) => each.scrollWidth - each.clientWidth") <= 0
