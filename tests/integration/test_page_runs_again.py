# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""*Run again…* on the page, for a batch that failed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from browser import Reader
from nights import Nights
from playwright.sync_api import expect

from batchy_provider.local.rest import wait_for


def test_only_what_failed_is_run_again_in_a_batch_of_the_same_window(
    airflow: Nights, reader: Callable[..., Reader], tmp_path: Path
) -> None:
    airflow.add(
        "page_mended",
        f"""
        schedule: null
        jobs:
          extract: {{bash: echo ran >> {tmp_path}/extract}}
          load: {{bash: "echo ran >> {tmp_path}/load; test -e {tmp_path}/mended", retries: 0}}
          report: {{bash: echo ran >> {tmp_path}/report}}
        """,
    )
    run_id, state = airflow.run("page_mended")
    assert state == "failed"
    before = airflow.batch("page_mended", run_id)
    (tmp_path / "mended").touch()

    frame = reader().go(f"workflows/page_mended/batches/{before.batch_id}")
    frame.get_by_role("button", name="Run again…").click()
    dialog = frame.get_by_role("dialog")
    expect(dialog.get_by_label("Only failed tasks and the tasks after them")).to_be_checked()
    dialog.get_by_role("button", name="Clear and run", exact=True).click()
    expect(dialog).to_be_hidden()

    wait_for(lambda: len(airflow.store.history("page_mended")) == 2, "the second batch", timeout=240)
    assert airflow.client.wait_for_run("page_mended", run_id) == "success"
    after = airflow.batch("page_mended", run_id)
    assert (after.status, after.from_date, after.to_date) == ("success", before.from_date, before.to_date)
    ran = {job: (tmp_path / job).read_text().count("ran") for job in ("extract", "load", "report")}
    assert ran == {"extract": 1, "load": 2, "report": 1}
