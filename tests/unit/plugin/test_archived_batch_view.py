# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The page of a batch that only the archive has in a real Chromium: marked, with all that is known, without actions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import page_files
import pytest
from api_server import SALES, Api
from documentation_pages import chromium
from playwright.sync_api import Locator, Page, Route, expect

from batchy_provider.plugin import airflow_services

HOST = "http://batchy.test"
MARK = "only in the archive"
expect.set_options(timeout=60_000)


@pytest.fixture
def client(api: Api) -> httpx.Client:
    (api.cfg / "sales.yaml").write_text(SALES)
    return api.client()


@pytest.fixture
def failed(client: httpx.Client) -> list[int]:
    """Two batches that have failed, newest first. Redis has the newest, the archive both."""
    found = []
    for number in range(2):
        opened = client.post("/api/v1/workflows/sales/batches").json()["batch"]["batch_id"]
        closed = client.post(f"/api/v1/workflows/sales/batches/{opened}/fail", json={"why": f"reason {number}"})
        assert closed.status_code == 200
        found.append(int(opened))
    note = client.post(f"/api/v1/workflows/sales/batches/{found[0]}/note", json={"text": "the source was late"})
    assert note.status_code == 200
    services = airflow_services.get_services()
    assert services.archive is not None
    services.archive.write("sales", overwrite=True)
    services.store.prune("sales", keep=1)
    return found[::-1]


@pytest.fixture
def page(client: httpx.Client, failed: list[int]) -> Iterator[Page]:
    def serve(route: Route) -> None:
        path = page_files.path_of(route)
        if path.startswith("api/v1/") and path != "api/v1/events":
            answer = client.get(f"/{path}?{urlsplit(route.request.url).query}")
            route.fulfill(status=answer.status_code, body=answer.content, content_type="application/json")
        else:
            page_files.answer(route)

    with chromium() as browser:
        page = browser.new_page()
        page.set_default_timeout(60_000)
        page.route("**/*", serve)
        yield page


def actions(page: Page) -> Locator:
    """The buttons that change something end with three dots."""
    return page.get_by_role("button").filter(has_text="…")


@pytest.mark.slow
def test_it_is_found_in_the_history_and_shown_to_read(page: Page, failed: list[int]) -> None:
    page.goto(f"{HOST}/batchy/page#/history?workflow=sales")
    row = page.get_by_role("row").filter(has_text=f"batch {failed[1]}")
    expect(row).to_contain_text(MARK)
    row.get_by_role("link", name=f"batch {failed[1]}").click()
    expect(page.get_by_role("heading", name=f"Batch {failed[1]}")).to_be_visible()
    expect(page.get_by_text("Only the archive has this batch")).to_be_visible()
    expect(page.get_by_text("“reason 0”")).to_be_visible()
    expect(page.get_by_text("the source was late")).to_be_visible()
    expect(page.get_by_role("row").filter(has_text="extract")).to_contain_text("failed")
    expect(actions(page)).to_have_count(0)
    page.goto(f"{HOST}/batchy/page#/workflows/sales/batches/{failed[0]}")
    expect(actions(page).filter(has_text="Acknowledge")).to_be_visible()
    expect(page.get_by_text(MARK)).to_have_count(0)


@pytest.mark.slow
def test_the_batches_of_a_workflow_go_on_with_it(page: Page, failed: list[int]) -> None:
    page.goto(f"{HOST}/batchy/page#/workflows/sales/windows")
    table = page.get_by_role("table", name="Batches of sales")
    expect(table.get_by_role("row").filter(has_text=str(failed[1]))).to_contain_text(MARK)
    expect(table.get_by_role("row").filter(has_text=str(failed[0]))).not_to_contain_text(MARK)


@pytest.mark.slow
def test_a_broken_archive_is_named(page: Page, failed: list[int]) -> None:
    files = airflow_services.get_services()._archive_files
    assert files is not None
    Path(files.url.removeprefix("file://"), "sales", "batches", f"{failed[1]}.json").write_text("{")
    page.goto(f"{HOST}/batchy/page#/workflows/sales/batches/{failed[1]}")
    expect(page.get_by_text("whether the archive has it is not known").first).to_be_visible()
    page.goto(f"{HOST}/batchy/page#/workflows/sales/windows")
    expect(page.get_by_text("The archive cannot be read").first).to_be_visible()
    expect(page.get_by_role("table", name="Batches of sales")).to_contain_text(str(failed[0]))
