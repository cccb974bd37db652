# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The page in a real browser tells the truth about a night, and lets nobody destroy one by a key too many."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from browser import Reader
from nights import Nights
from playwright.sync_api import Locator, Page, expect

from batchy_provider.core.values import CloseRequest, Holder, OpenRequest, Window, WorkflowConfig

LONG = "page_long_" + "a_name_of_eighty_characters_that_may_not_push_a_column_off_the_screen_at_any_w"[:70]
CALM = """\
schedule: null
start_date: 2026-01-01
jobs:
  first: {bash: "while test ! -e %s; do sleep 0.2; done"}
  second: {bash: "true"}
"""


def load(
    airflow: Nights, workflow: str, start: datetime | None, end: datetime, result: str = "success", **more: bool
) -> int:
    config = WorkflowConfig(name=workflow, jobs={"extract": {}, "load": {}})
    window = Window(from_date=start.isoformat() if start else None, to_date=end.isoformat())
    request = OpenRequest(
        config=config, holder=Holder(by="nightly"), window=window, move_watermark=more.get("live", True)
    )
    batch = airflow.store.open(workflow, request).batch_id
    if result != "open":
        airflow.store.close(workflow, CloseRequest(result=result, batch_id=batch, by="nightly"))
    return batch


@pytest.fixture(scope="module")
def night(airflow: Nights) -> str:
    """A first load of everything and six days: the third by a one-off run, the fifth twice, and a failed one-off."""
    first = datetime(2026, 11, 1)
    days = [first + timedelta(days=day) for day in range(8)]
    load(airflow, LONG, None, days[0])
    for day in (0, 1, 3, 4, 5):
        load(airflow, LONG, days[day], days[day + 1])
    load(airflow, LONG, days[2], days[3], live=False)
    load(airflow, LONG, days[4], days[5], live=False)
    load(airflow, LONG, days[5], days[6], "failed", live=False)
    return LONG


def fits(page: Page) -> bool:
    return bool(
        page.evaluate(
            "document.documentElement.scrollWidth <= innerWidth && [...document.querySelectorAll('.scroll')]"
            ".every((each) => each.scrollWidth <= each.clientWidth)"
        )
    )


def colours(where: Locator) -> list[str]:
    found: list[str] = where.evaluate(
        "(each) => [getComputedStyle(each).color, getComputedStyle(each).backgroundColor]"
    )
    return found


def test_what_was_loaded_is_shown_as_it_was_and_a_long_name_pushes_nothing_away(
    airflow: Nights, reader: Callable[..., Reader], night: str
) -> None:
    person = reader(viewport={"width": 1280, "height": 900})
    page = person.alone(f"workflows/{night}/windows")
    notice = page.locator(".note.warn")
    expect(notice).to_contain_text("1 overlap in the last 9 batches")
    expect(notice.locator("li")).to_have_count(1)
    expect(notice.locator("li")).to_contain_text("loaded twice: 2026-11-05 01:00→2026-11-06 01:00 (24 h), by")
    expect(page.get_by_text("from the beginning")).to_be_visible()
    expect(page.get_by_text("1776")).to_have_count(0)
    expect(page.get_by_text("continues beyond it")).to_be_visible()
    failed = page.get_by_role("row").filter(has_text="history only").first
    expect(failed.get_by_text("failed")).to_be_visible()
    person.photograph("windows-truth")
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 900})
        for where in ("", f"workflows/{night}", f"workflows/{night}/dependencies"):
            assert fits(person.alone(where)), (width, where)
    page.set_viewport_size({"width": 1280, "height": 900})
    person.alone()
    chip = page.locator(".chip", has_text="Success")
    chip.click()
    page.mouse.move(0, 0)
    still = colours(chip)
    chip.hover()
    assert colours(chip) == still, "a chip that was clicked looks the same under the mouse"


def test_an_address_that_leads_nowhere_says_so(reader: Callable[..., Reader], night: str) -> None:
    person = reader()
    for where, said in {
        "nothing": 'There is no view "nothing"',
        f"workflows/{night}/tomorrow": 'There is no view "tomorrow"',
        f"workflows/{night}/batches/soon": 'There is no batch "soon"',
        f"workflows/{night}/batches/17": "17",
        "workflows/%E0%A4%A": "cannot be read",
        "workflows/no_such_workflow": "no_such_workflow",
    }.items():
        page = person.alone(where)
        expect(page.get_by_role("alert")).to_contain_text(said)
    batch = person.alone(f"workflows/{night}/windows").locator("tbody th a").first.text_content()
    expect(person.alone(f"workflows/{night}/batches/{batch}/nobody").get_by_role("alert")).to_contain_text("has no job")
    person.faults = [fault for fault in person.faults if "404" not in fault]


def test_no_key_too_many_and_no_double_click_changes_anything(
    airflow: Nights, reader: Callable[..., Reader], night: str
) -> None:
    batch = load(airflow, night, datetime(2026, 11, 7), datetime(2026, 11, 8), "open")
    page = reader().alone(f"workflows/{night}")
    dialog = page.get_by_role("dialog")
    for label in ("Close as failed…", "Close as success…", "Open by hand…", "Set window…"):
        button = page.get_by_role("button", name=label)
        button.focus()
        page.keyboard.down("Enter")
        for _ in range(5):
            page.keyboard.down("Enter")  # as a key that is held down
        page.keyboard.up("Enter")
        expect(dialog.get_by_role("button", name="Cancel")).to_be_focused()
        page.keyboard.press("Enter")
        expect(dialog).to_be_hidden()
        button.dblclick()
        expect(dialog).to_be_visible()  # the second click neither closes nor sends it
        dialog.locator("[type=submit]").click()  # without a reason
        expect(dialog).to_be_visible()
        page.keyboard.press("Escape")
        expect(dialog).to_be_hidden()
    assert airflow.store.status(night).batch is not None
    assert airflow.store.history(night)[0].batch_id == batch
    assert airflow.store.history(night)[0].status == "open"

    page.get_by_role("button", name="Close as failed…").click()
    expect(dialog).to_contain_text("2026-11-07 01:00")
    dialog.get_by_label("Why").fill("the source was wrong")
    dialog.get_by_role("button", name="Close as failed").click()
    expect(dialog).to_be_hidden()
    page.get_by_role("link", name="Windows").click()
    page.get_by_role("link", name=str(batch)).click()
    expect(page.locator(".facts")).to_contain_text("Closed byadmin“the source was wrong”")


def test_a_reset_asks_for_the_name_and_says_what_is_loaded_again(
    airflow: Nights, reader: Callable[..., Reader]
) -> None:
    text = "schedule: null\njobs: {extract: {bash: 'true'}, load: {bash: 'true'}}\n"
    (airflow.cfg / "page_reset.yaml").write_text(text)
    load(airflow, "page_reset", None, datetime(2026, 11, 22))
    before = airflow.watermark("page_reset")
    page = reader().alone("workflows/page_reset")
    dialog = page.get_by_role("dialog")
    page.get_by_role("button", name="Reset to the file…").click()
    expect(dialog.get_by_role("button", name="Cancel")).to_be_focused()
    expect(dialog).to_contain_text("Loaded again: from the beginning")
    sure = dialog.get_by_role("button", name="Reset to the file")
    dialog.get_by_label("Type the workflow's name").fill("page_rese")
    expect(sure).to_be_disabled()
    page.keyboard.press("Enter")
    assert airflow.watermark("page_reset") == before
    dialog.get_by_label("Type the workflow's name").fill("page_reset")
    sure.click()
    expect(dialog).to_be_hidden()
    assert airflow.watermark("page_reset") != before
    page.get_by_role("button", name="Set window…").click()
    dialog.get_by_label("The next window starts at").fill("2026-11-20T01:00")
    dialog.get_by_label("Why").fill("by mistake")
    dialog.get_by_role("button", name="Set", exact=True).click()
    page.get_by_role("link", name="Changes").click()
    expect(page.get_by_role("row").nth(1)).to_contain_text("by mistake")
    expect(page.get_by_role("row").nth(2)).to_contain_text("loaded the configuration")


def test_runs_that_wait_look_so_and_a_second_one_is_no_surprise(
    airflow: Nights, reader: Callable[..., Reader], tmp_path: Path
) -> None:
    airflow.add("page_calm", CALM % (tmp_path / "go"))
    airflow.client.request("PATCH", "/dags/page_calm", json={"is_paused": True})
    person = reader()
    frame = person.go("workflows/page_calm")
    dialog = frame.get_by_role("dialog")
    frame.get_by_role("button", name="Run now…").click()
    expect(dialog).to_contain_text("The DAG is paused.")
    dialog.get_by_role("button", name="Queue a run").click()
    expect(frame.get_by_text("it starts when the DAG is unpaused")).to_be_visible()
    frame.get_by_role("button", name="Run now…").click()
    expect(dialog).to_contain_text("has not ended")
    expect(dialog.get_by_role("button", name="Cancel")).to_be_focused()
    dialog.get_by_role("button", name="Cancel").click()
    frame.get_by_role("button", name="Unpause…").click()
    dialog.get_by_role("button", name="Unpause").click()
    first, second = (
        frame.get_by_role("row").filter(has=frame.get_by_role("rowheader", name=name)) for name in ("first", "second")
    )
    expect(first.get_by_text("running")).to_be_visible(timeout=90_000)
    expect(second.get_by_text("not begun")).to_be_visible()
    expect(frame.locator("tbody .pulse")).to_have_count(1)
    person.photograph("not-begun")
    frame.get_by_role("button", name="Close as failed…").click()
    expect(dialog).to_contain_text("stop within about ten seconds")
    dialog.get_by_role("button", name="Cancel").click()

    # The menu entry leads to the address alone: the view stays, and so does the address.
    where = re.compile(r"#/workflows/page_calm$")
    expect(person.page).to_have_url(where)
    person.page.get_by_role("link", name="Batches").first.click()
    expect(person.page).to_have_url(where)
    expect(frame.get_by_role("heading", name="page_calm")).to_be_visible()
    (tmp_path / "go").touch()


def test_a_file_that_airflow_never_read_is_not_said_to_go_on(airflow: Nights, reader: Callable[..., Reader]) -> None:
    path = airflow.cfg / "page_never.yaml"
    path.write_text("jobs: 3\n")
    try:
        page = reader().alone("workflows/page_never")
        expect(page.get_by_text("Airflow has no DAG of it")).to_be_visible()
    finally:
        path.unlink()
