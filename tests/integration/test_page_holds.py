# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""A hold and an acknowledgement on a whole Airflow, by a person at the page: runs wait, and go on by themselves."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from browser import Reader
from nights import Nights
from playwright.sync_api import expect

from batchy_provider.core.values import Actor, CloseRequest, Holder, OpenRequest, WorkflowConfig
from batchy_provider.local.rest import wait_for

QUICK = """\
schedule: null
start_date: 2026-01-01
jobs:
  load: {bash: echo from $BATCHY_FROM_DATE}
"""


def test_runs_wait_while_a_person_holds_the_workflow(airflow: Nights, reader: Callable[..., Reader]) -> None:
    airflow.add("page_hold", QUICK)
    airflow.run("page_hold")
    night = reader()
    frame = night.go("workflows/page_hold")
    dialog = frame.get_by_role("dialog")
    frame.get_by_role("button", name="Hold…").click()
    dialog.get_by_label("Until; empty means until it is released").fill("2020-01-01T06:00")
    expect(dialog).to_contain_text("This moment has passed.")
    expect(dialog.get_by_role("button", name="Hold")).to_be_disabled()
    dialog.get_by_label("Until; empty means until it is released").fill("2099-11-30T06:00")
    dialog.get_by_label("Why").fill("the warehouse is rebuilt")
    night.photograph("hold-dialog")
    dialog.get_by_role("button", name="Hold").click()
    expect(dialog).to_be_hidden()
    expect(frame.get_by_text("by admin: “the warehouse is rebuilt”")).to_be_visible()

    frame.get_by_role("button", name="Open by hand…").click()
    expect(dialog).to_contain_text("The workflow is on hold")
    dialog.get_by_label("Why").fill("in a hurry")
    expect(dialog.get_by_role("button", name="Open", exact=True)).to_be_disabled()
    dialog.get_by_role("button", name="Cancel").click()
    frame.get_by_role("button", name="Run now…").click()
    expect(dialog.get_by_label("Do not wait: open the batch at once.")).not_to_be_checked()
    night.photograph("hold-run-now")
    dialog.get_by_role("button", name="Run", exact=True).click()
    expect(dialog).to_be_hidden()
    (run_id,) = (each["dag_run_id"] for each in airflow.client.runs("page_hold") if each["state"] != "success")
    wait_for(lambda: airflow.tasks("page_hold", run_id).get("open") == "deferred", "the run waits", timeout=240)
    expect(frame.get_by_text("a run waits until the hold ends")).to_be_visible(timeout=60_000)
    alone = night.alone("workflows/page_hold")
    assert not night.barriers()
    night.photograph("hold-workflow")
    alone.set_viewport_size({"width": 390, "height": 844})
    night.photograph("hold-workflow-phone")
    alone.emulate_media(color_scheme="dark")
    night.photograph("hold-workflow-phone-dark")
    night.alone()
    night.photograph("hold-overview-phone-dark")
    alone.set_viewport_size({"width": 1400, "height": 900})
    assert not night.barriers()
    night.photograph("hold-overview-dark")
    alone.emulate_media(color_scheme="light")

    page = night.alone("workflows/page_hold")
    page.get_by_role("button", name="Release…").click()
    page.get_by_role("dialog").get_by_role("button", name="Release").click()
    assert airflow.client.wait_for_run("page_hold", run_id) == "success"
    expect(page.get_by_text("by admin: “the warehouse is rebuilt”")).to_be_hidden(timeout=60_000)
    second, first = airflow.store.history("page_hold")
    assert second.from_date == first.to_date, "no window is lost"
    released = airflow.store.status("page_hold").changes[0]
    assert (released.by, released.source, released.what) == ("admin", "web", "released the hold of admin")

    # One that ends by itself, over which nobody sends an event.
    until = airflow.store.backend.server_time("page_hold") + timedelta(seconds=20)
    airflow.store.hold("page_hold", by=Actor("anna", "cli"), why="backup", until=until)
    run_id, state = airflow.run("page_hold")
    assert state == "success"
    assert "page_hold is on hold since" in airflow.log("page_hold", run_id, "open")
    third = airflow.batch("page_hold", run_id)
    assert third.record is not None
    assert third.record.started >= until.isoformat()
    assert third.from_date == second.to_date


def test_a_failure_is_acknowledged_on_the_page(airflow: Nights, reader: Callable[..., Reader]) -> None:
    airflow.add("page_ack", QUICK)
    store = airflow.store
    config = WorkflowConfig(name="page_ack", jobs={"load": {}})
    batch = store.open("page_ack", OpenRequest(holder=Holder(by="anna"), config=config))
    store.close("page_ack", CloseRequest(result="failed", batch_id=batch.batch_id))
    night = reader()
    page = night.alone(f"workflows/page_ack/batches/{batch.batch_id}")
    dialog = page.get_by_role("dialog")
    expect(page.get_by_text("Nobody has written anything about this batch yet.")).to_be_visible()
    page.get_by_role("button", name="Write a note…").click()
    dialog.get_by_label("Note").fill("the disk of db7 was full")
    dialog.get_by_role("button", name="Save").click()
    expect(page.get_by_text("the disk of db7 was full")).to_be_visible()
    page.get_by_role("button", name="Acknowledge…").click()
    dialog.get_by_role("button", name="Acknowledge").click()
    expect(page.get_by_role("button", name="Acknowledge…")).to_be_hidden()
    expect(page.get_by_text("acknowledged", exact=True).first).to_be_visible()
    night.alone(f"workflows/page_ack/batches/{batch.batch_id}")
    assert not night.barriers()
    night.photograph("acknowledged-batch")
    page = night.alone("?search=page_ack")
    row = page.get_by_role("row").filter(has_text="page_ack")
    expect(row.get_by_text("acknowledged by admin")).to_be_visible()
