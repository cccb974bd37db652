# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The page in a real browser, on a whole Airflow: what a person sees at night."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from browser import Reader
from nights import Nights
from playwright.sync_api import Route, expect

from batchy_provider.core.values import CloseRequest, Holder, OpenRequest, Window, WorkflowConfig

SLOW = """\
description: Shops, every night
schedule: null
timezone: Europe/Berlin
jobs:
  extract:
    bash: |
      echo '::batchy {{"progress": 0.25, "message": "1/4 shops"}}'
      while test ! -e {folder}/one; do sleep 0.2; done
      echo '::batchy {{"progress": 0.75, "message": "3/4 shops"}}'
      while test ! -e {folder}/two; do sleep 0.2; done
      echo all shops are in
  load: {{bash: echo loaded, input: previous}}
"""
FAILING = """\
description: "Faults <script>window.hacked = 1</script>"
schedule: null
jobs:
  breaks:
    retries: 0
    bash: |
      echo '<script>window.hacked = 2</script> <img src=x onerror="window.hacked = 3">'
      echo the disk is full >&2
      exit 3
    params: {"<b>name</b>": "<script>window.hacked = 4</script>"}
"""


@pytest.fixture(scope="module")
def past(airflow: Nights) -> str:
    """A workflow with four weeks of nights: a day never loaded, half a day loaded twice, two failures."""
    config = WorkflowConfig(name="page_past", jobs={"extract": {}, "load": {}})
    for day in range(28):
        if day == 9:
            continue
        start = datetime(2026, 10, 20) + timedelta(days=day)
        window = Window(
            from_date=(start - timedelta(hours=12 * (day == 17))).isoformat(),
            to_date=(start + timedelta(days=1)).isoformat(),
        )
        for result in ("failed", "success") if day in (12, 20) else ("success",):
            request = OpenRequest(config=config, holder=Holder(by="nightly"), window=window, move_watermark=True)
            batch = airflow.store.open("page_past", request)
            airflow.store.close("page_past", CloseRequest(result=result, batch_id=batch.batch_id, by="nightly"))
    return "page_past"


def test_a_batch_is_seen_running_to_success_without_a_reload(
    airflow: Nights, reader: Callable[..., Reader], tmp_path: Path
) -> None:
    airflow.add("page_slow", SLOW.format(folder=tmp_path))
    night = reader(by_form=True)
    night.page.get_by_role("link", name="Batches").first.click()
    frame = night.frame
    frame.get_by_label("Search workflows").fill("page_slow")  # the first page may show only workflows of other tests
    row = frame.get_by_role("row").filter(has=frame.get_by_role("link", name="page_slow", exact=True))
    expect(row.get_by_text("new", exact=True)).to_be_visible()

    run_id = airflow.start("page_slow")
    expect(row.get_by_text("open", exact=True)).to_be_visible(timeout=30_000)
    expect(row.get_by_text("25 %")).to_be_visible(timeout=20_000)
    expect(row.get_by_text("extract: 1/4 shops")).to_be_visible()
    (tmp_path / "one").touch()
    expect(row.get_by_text("75 %")).to_be_visible(timeout=10_000)
    night.photograph("overview")

    row.get_by_role("link", name="page_slow", exact=True).click()
    frame.get_by_role("link", name="extract", exact=True).click()
    expect(frame.get_by_text("progress: 75% 3/4 shops")).to_be_visible()
    night.photograph("execution")
    (tmp_path / "two").touch()
    expect(frame.get_by_text("all shops are in")).to_be_visible(timeout=10_000)
    expect(frame.get_by_role("definition").filter(has_text=re.compile("^success$"))).to_be_visible(timeout=20_000)
    assert airflow.client.wait_for_run("page_slow", run_id) == "success"

    # The address bar leads back here, and Airflow's tasks lead here too.
    batch = airflow.batch("page_slow", run_id).batch_id
    assert night.page.url.endswith(f"#/workflows/page_slow/batches/{batch}/extract")
    for task in ("open", "extract", "close"):
        path = f"/dags/page_slow/dagRuns/{run_id}/taskInstances/{task}/links"
        links = airflow.client.request("GET", path)["extra_links"]
        assert str(links["Batch"]).endswith(f"/plugin/batches#/workflows/page_slow/batches/{batch}"), task
    night.page.goto("about:blank")
    night.page.goto(str(links["Batch"]))
    expect(night.frame.get_by_role("heading", name=f"Batch {batch}")).to_be_visible()
    expect(night.frame.get_by_role("cell", name="success").first).to_be_visible()


def test_the_log_of_a_failed_job_is_found_and_what_it_says_is_only_text(
    airflow: Nights, reader: Callable[..., Reader], tmp_path: Path
) -> None:
    airflow.add("page_failing", FAILING)
    run_id, state = airflow.run("page_failing")
    assert state == "failed"
    night = reader()
    frame = night.go("workflows/page_failing")
    expect(frame.get_by_text("Faults <script>window.hacked = 1</script>")).to_be_visible()
    frame.get_by_role("link", name="breaks").click()
    expect(frame.get_by_text("stderr: the disk is full").first).to_be_visible()
    expect(frame.get_by_text('<img src=x onerror="window.hacked = 3">')).to_be_visible()
    expect(frame.get_by_text("Exit code", exact=True)).to_be_visible()
    night.photograph("failed")
    with night.page.expect_download() as download:
        frame.get_by_role("link", name="Download stderr").click()
    assert Path(download.value.path()).read_text() == "the disk is full\n"
    frame.get_by_role("button", name="Show stdout").click()
    expect(frame.get_by_label("stdout")).to_contain_text("window.hacked = 2")
    hacked = [frame.evaluate("window.hacked") for frame in night.page.frames]
    assert hacked == [None, None]

    # The overview has the failure, and leads to that line.
    page = night.alone("?search=page_failing")
    expect(page).to_have_title(re.compile(r"^\d+ failed · Batches$"))
    row = page.get_by_role("row").filter(has=page.get_by_role("link", name="page_failing", exact=True))
    expect(row.locator(".failure")).to_contain_text("breaks: exit code 3")
    night.photograph("overview-failed")
    row.get_by_role("link", name="the disk is full").click()
    expect(page.locator("mark")).to_have_text("the disk is full")
    page.go_back()
    expect(page.get_by_role("searchbox")).to_have_value("page_failing")
    run_again_from_the_overview(airflow, night, run_id)


def run_again_from_the_overview(airflow: Nights, night: Reader, run_id: str) -> None:
    """Choose a row by the keyboard and run it again. The first reply gets lost, and nothing is done twice."""
    page = night.page
    page.get_by_label("Choose page_failing").focus()
    page.keyboard.press("Space")
    page.get_by_role("button", name=re.compile("^Run again…")).click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("listitem")).to_contain_text("page_failing")
    assert night.barriers() == []
    replies: list[int] = []

    def lose_the_first(route: Route) -> None:
        if replies:
            route.continue_()
            return
        replies.append(route.fetch().status)
        route.abort()

    page.route("**/api/v1/bulk", lose_the_first)
    dialog.get_by_role("button", name="Run again 1").click()
    results = page.get_by_role("region", name="Run again: results")
    expect(results.get_by_role("status")).to_contain_text("1 done", timeout=60_000)
    assert night.barriers() == []
    assert replies == [200]
    night.faults = [fault for fault in night.faults if "ERR_FAILED" not in fault]
    assert airflow.client.wait_for_run("page_failing", run_id) == "failed"
    assert len(airflow.store.history("page_failing")) == 2


def test_gaps_and_overlaps_are_seen_at_once(reader: Callable[..., Reader], past: str) -> None:
    night = reader()
    frame = night.go(f"workflows/{past}/windows")
    seams = frame.locator(".note.warn li")
    expect(seams).to_have_count(2)
    expect(frame.locator(".note.warn")).to_contain_text("1 gap and 1 overlap in the last 29 batches")
    expect(seams.nth(0)).to_contain_text("never loaded: 2026-10-29 01:00→2026-10-30 01:00")
    expect(seams.nth(1)).to_contain_text("loaded twice: 2026-11-05 13:00→2026-11-06 01:00")
    expect(frame.get_by_role("img", name="Windows of the last 29 batches")).to_be_visible()
    night.photograph("windows")
    frame.get_by_label("Times are shown in").select_option("utc")
    expect(seams.nth(0)).to_contain_text("never loaded: 2026-10-29 00:00→2026-10-30 00:00")


def test_a_window_that_is_meant_to_reach_back_is_no_fault(airflow: Nights, reader: Callable[..., Reader]) -> None:
    config = WorkflowConfig(name="page_back", jobs={"extract": {"reprocess_hours": 2}})
    for _ in range(3):
        batch = airflow.store.open("page_back", OpenRequest(config=config, holder=Holder(by="nightly")))
        airflow.store.close("page_back", CloseRequest(result="success", batch_id=batch.batch_id, by="nightly"))
    frame = reader().go("workflows/page_back/windows")
    expect(frame.get_by_text("2 windows reach back over the one before, as configured.")).to_be_visible()
    expect(frame.locator(".note.warn")).to_have_count(0)


def test_the_dag_has_a_view_of_its_batches(reader: Callable[..., Reader]) -> None:
    night = reader()
    night.page.goto(f"{night.url}/dags/sales")
    night.page.get_by_role("link", name="Batches").last.click()
    expect(night.frame.get_by_role("heading", name="sales")).to_be_visible()
    expect(night.frame.get_by_role("rowheader", name="extract", exact=True)).to_be_visible()
    night.photograph("dag")
    night.frame.get_by_role("link", name="Dependencies").click()
    expect(night.frame.locator("svg.graph").first).to_be_visible()
    night.photograph("dependencies")


def test_what_has_faults_is_shown_with_its_lines(airflow: Nights, reader: Callable[..., Reader]) -> None:
    path = airflow.cfg / "page_broken.yaml"
    path.write_text("shedule: null\njobs: {a: {bash: 'true'}}\n")
    try:
        night = reader()
        frame = night.go()
        row = frame.get_by_role("row").filter(has_text="page_broken")
        row.get_by_role("link", name="1 error").click()
        expect(frame.locator(".invalid + .diagnostic")).to_contain_text("did you mean 'schedule'?")
        night.photograph("faults")
    finally:
        path.unlink()


def test_it_follows_the_dark_and_fits_a_phone(reader: Callable[..., Reader], past: str) -> None:
    night = reader(color_scheme="dark")
    frame = night.go(f"?search={past}")
    expect(frame.locator("html")).to_have_class(re.compile("dark"))
    expect(frame.get_by_role("link", name=past)).to_be_visible()
    night.photograph("dark")
    night.page.evaluate("document.documentElement.className = 'light'")
    expect(frame.locator("html")).not_to_have_class(re.compile("dark"))

    phone = reader(viewport={"width": 390, "height": 844}, has_touch=True)
    for where in ("", "workflows/sales", f"workflows/{past}/windows", "workflows/sales/calendar", "upload"):
        page = phone.alone(where)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), where or "overview"
    phone.alone()
    phone.photograph("phone")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(reader: Callable[..., Reader], past: str, scheme: str) -> None:
    night = reader(color_scheme=scheme)
    views = ["", "tonight", "history", "upload", "workflows/sales", f"workflows/{past}"]
    views += [f"workflows/sales/{tab}" for tab in ("calendar", "dependencies", "file", "changes")] + [
        f"workflows/{past}/windows"
    ]
    found = {}
    for where in views:
        page = night.alone(where)
        page.wait_for_timeout(300)
        found[where] = night.barriers()
    page.get_by_role("cell").first.wait_for()
    page.get_by_role("rowheader").first.get_by_role("link").click()
    # The view before it has headings with this word, too, and may be there for a moment longer.
    page.get_by_role("heading", name=re.compile(r"^Batch \d")).wait_for()
    found["batch"] = night.barriers()
    night.alone("workflows/sales").get_by_role("button", name="Run now…").click()
    found["dialog"] = night.barriers()
    assert {where: each for where, each in found.items() if each} == {}


def test_the_keyboard_is_enough(reader: Callable[..., Reader]) -> None:
    page = reader().alone("workflows/sales")
    button = page.get_by_role("button", name="Run now…")
    button.wait_for()
    for _ in range(30):
        page.keyboard.press("Tab")
        if button.evaluate("each => each === document.activeElement"):
            break
    else:
        raise AssertionError("Tab never came to the button")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(button).to_be_focused()
