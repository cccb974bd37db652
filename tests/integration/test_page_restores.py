# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The page in a real browser on the night on which Redis has lost a workflow."""

from __future__ import annotations

import re
from collections.abc import Callable

import redis
from browser import Reader
from nights import Nights
from playwright.sync_api import expect

QUICK = """\
schedule: null
start_date: 2026-01-01
jobs:
  first: {bash: echo from $BATCHY_FROM_DATE}
"""


def test_a_loss_is_seen_and_restored_and_the_next_window_follows(
    airflow: Nights, reader: Callable[..., Reader]
) -> None:
    airflow.add("page_lost", QUICK)
    run_id, _ = airflow.run("page_lost")
    loaded = airflow.batch("page_lost", run_id)
    with redis.Redis.from_url(airflow.stack.redis_url) as client:
        client.delete(*client.scan_iter("page_lost*"))
    _, state = airflow.run("page_lost")
    assert state == "failed", "nothing is opened on a Redis that has lost the watermark"

    night = reader()
    frame = night.go()
    alert = frame.get_by_role("alert")
    expect(alert).to_contain_text(re.compile(r"Redis has lost the state of \d+ workflow"))
    night.photograph("lost")
    alert.get_by_role("link", name="page_lost").click()
    expect(frame.get_by_role("heading", name="page_lost")).to_be_visible()
    expect(alert).to_contain_text(f"The archive has batch {loaded.batch_id}, success")
    page = night.alone("workflows/page_lost")
    page.get_by_role("button", name="Restore…").wait_for()
    assert night.barriers() == []
    alert = page.get_by_role("alert")
    alert.get_by_role("button", name="Restore…").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("The history too: 1 batch")
    dialog.get_by_label("Why").fill("the disk broke")
    night.photograph("restore")
    dialog.get_by_role("button", name="Restore").click()
    expect(dialog).to_be_hidden()
    expect(page.get_by_text("Restored: the state, 1 batch.")).to_be_visible()
    expect(alert).to_be_hidden()
    page.get_by_role("link", name="Changes").click()
    expect(page.get_by_role("row").filter(has_text="the disk broke")).to_contain_text("restored the state and 1 batch")

    run_id, state = airflow.run("page_lost")
    assert state == "success"
    assert airflow.batch("page_lost", run_id).from_date == loaded.to_date
