# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The page in a real browser, on a whole Airflow: what a person changes at night."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable

from browser import Reader
from nights import Nights
from playwright.sync_api import expect

from batchy_provider.local.rest import wait_for

QUICK = """\
schedule: null
start_date: 2026-01-01
jobs:
  first: {bash: echo from $BATCHY_FROM_DATE}
  second: {bash: "true"}
"""


def test_a_window_is_set_back_and_run_and_a_chosen_one_too(airflow: Nights, reader: Callable[..., Reader]) -> None:
    airflow.add("page_window", QUICK)
    airflow.run("page_window")
    night = reader()
    frame = night.go("workflows/page_window")
    frame.get_by_role("button", name="Set window…").click()
    dialog = frame.get_by_role("dialog")
    expect(dialog).to_contain_text("An earlier moment loads data again")
    dialog.get_by_label("The next window starts at").fill("2026-11-20T01:00")
    expect(dialog).to_contain_text("2026-11-20 00:00 UTC")
    expect(dialog).to_contain_text(re.compile("Loaded again: 2026-11-20 01:00→"))
    dialog.get_by_label("Why").fill("a file came late")
    night.photograph("set-window")
    dialog.get_by_role("button", name="Set").click()
    expect(dialog).to_be_hidden()

    frame.get_by_role("button", name="Run now…").click()
    dialog.get_by_role("button", name="Run").click()
    expect(dialog).to_be_hidden()
    wait_for(lambda: _windows(airflow, "page_window")[0][0] == "2026-11-20T00:00:00.000000", "the window", timeout=240)
    frame.get_by_role("link", name="Changes").click()
    expect(frame.get_by_role("row").nth(1)).to_contain_text("a file came late")
    expect(frame.get_by_role("row").nth(1)).to_contain_text("web")

    frame.get_by_role("button", name="Run now…").click()
    dialog.get_by_label("Another window").check()
    dialog.get_by_role("textbox", name="From").fill("2026-11-01T01:00")
    dialog.get_by_role("textbox", name="To, exclusive; empty means now").fill("2026-11-02T01:00")
    dialog.get_by_role("button", name="Run").click()
    chosen = ("2026-11-01T00:00:00.000000", "2026-11-02T00:00:00.000000", "history")
    wait_for(lambda: _windows(airflow, "page_window")[0] == chosen, "the chosen window", timeout=240)


def _windows(airflow: Nights, workflow: str) -> list[tuple[str | None, str | None, str]]:
    return [(batch.from_date, batch.to_date, batch.kind) for batch in airflow.store.history(workflow)]


def test_a_batch_is_opened_closed_failed_and_run_again_by_hand(airflow: Nights, reader: Callable[..., Reader]) -> None:
    airflow.add("page_hand", QUICK)
    night = reader()
    frame = night.go("workflows/page_hand")
    dialog = frame.get_by_role("dialog")

    def act(label: str, sure: str, why: str | None = None) -> None:
        frame.get_by_role("button", name=label).click()
        if why is not None:
            dialog.get_by_label("Why").fill(why)
        dialog.get_by_role("button", name=sure, exact=True).click()
        expect(dialog).to_be_hidden()

    act("Open by hand…", "Open", "a load by hand")
    act("Close as failed…", "Close as failed", "the source was wrong")
    act("Open by hand…", "Open", "once more")
    act("Close as success…", "Close as success", "checked")
    expect(frame.get_by_role("definition").first).to_contain_text("success")
    second, first = airflow.store.history("page_hand")
    assert (first.status, second.status, first.from_date) == ("failed", "success", second.from_date)

    run_id, state = airflow.run("page_hand")
    assert state == "success"
    frame = night.go(f"workflows/page_hand/batches/{airflow.batch('page_hand', run_id).batch_id}")
    act("Run again…", "Clear and run")
    second = frame.get_by_role("row").filter(has_text="second").get_by_role("link", name="2", exact=True)
    expect(second).to_be_visible(timeout=60_000)
    assert airflow.client.wait_for_run("page_hand", run_id) == "success"


def test_a_job_is_disabled_and_the_dag_is_paused(airflow: Nights, reader: Callable[..., Reader]) -> None:
    airflow.add("page_switch", QUICK)
    airflow.run("page_switch")
    night = reader()
    frame = night.go("workflows/page_switch")
    dialog = frame.get_by_role("dialog")
    row = frame.get_by_role("row").filter(has_text="second")
    row.get_by_role("button", name="Disable second").click()
    expect(dialog).to_contain_text("its window does not move")
    dialog.get_by_role("button", name="Disable second").click()
    expect(row.get_by_text("disabled")).to_be_visible()
    assert airflow.store.status("page_switch").disabled == {"second"}
    row.get_by_role("button", name="Enable second").click()
    dialog.get_by_role("button", name="Enable second").click()
    expect(row.get_by_text("disabled")).to_be_hidden()
    frame.get_by_role("button", name="Pause…").click()
    dialog.get_by_role("button", name="Pause").click()
    expect(frame.get_by_text("paused", exact=True)).to_be_visible()
    assert airflow.client.dags()["page_switch"]["is_paused"]


def test_an_upload_with_a_fault_shows_its_line_and_a_right_one_is_stored(
    airflow: Nights, reader: Callable[..., Reader]
) -> None:
    night = reader()
    frame = night.go("upload")
    wrong = "schedule: null\njobs:\n  load: {bundel: page_new.zip}\n"
    frame.get_by_label("Files", exact=True).set_input_files(
        {"name": "page_new.yaml", "mimeType": "text/yaml", "buffer": wrong.encode()}
    )
    frame.get_by_role("button", name="Check").click()
    fault = frame.locator(".invalid + .diagnostic")
    expect(fault).to_contain_text("did you mean 'bundle'?")
    expect(frame.locator(".invalid")).to_contain_text("bundel: page_new.zip")
    night.photograph("upload-error")
    night.faults.clear()  # a browser counts a refusal as one
    assert not (airflow.cfg / "page_new.yaml").exists()

    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("script.sh", "echo new\n")
    files = [
        {"name": "page_new.yaml", "mimeType": "text/yaml", "buffer": wrong.replace("bundel", "bundle").encode()},
        {"name": "page_new.zip", "mimeType": "application/zip", "buffer": out.getvalue()},
    ]
    frame.get_by_label("Files", exact=True).set_input_files(files)
    frame.get_by_role("button", name="Check").click()
    expect(frame.get_by_text("No errors.")).to_be_visible()
    assert not (airflow.cfg / "page_new.yaml").exists()
    frame.get_by_role("button", name="Store").click()
    expect(frame.get_by_role("heading", name="page_new")).to_be_visible()
    assert (airflow.cfg / "bundles" / "page_new.zip").read_bytes() == out.getvalue()

    frame.get_by_role("link", name="Upload a job after one of these…").click()
    zip_only = {"name": "page_more.zip", "mimeType": "application/zip", "buffer": out.getvalue()}
    frame.get_by_label("Files", exact=True).set_input_files(zip_only)
    frame.get_by_label("After the job").select_option("load")
    frame.get_by_role("button", name="Check").click()
    frame.get_by_role("button", name="Store").click()
    expect(frame.get_by_role("rowheader", name="page_more")).to_be_visible()
