# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The page in a real browser while Redis is gone, and while it hangs."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from browser import Reader
from nights import Nights
from playwright.sync_api import expect

OLD = "This page may show old data"


def test_a_redis_that_is_away_is_said_at_the_top_and_it_goes_on_when_it_is_back(
    airflow: Nights, reader: Callable[..., Reader]
) -> None:
    night = reader()
    frame = night.go("?search=sales")
    expect(frame.get_by_role("link", name="sales", exact=True).first).to_be_visible(timeout=60_000)
    said = frame.get_by_role("alert").filter(has_text=OLD)
    airflow.stack.service("valkey").kill()
    try:
        expect(said).to_be_visible(timeout=60_000)
        expect(frame.get_by_role("link", name="sales", exact=True).first).to_be_visible()
        night.photograph("redis-away")
    finally:
        airflow.stack.restart("valkey")
    expect(said).to_be_hidden(timeout=60_000)
    night.faults = [fault for fault in night.faults if "503" not in fault]


def test_a_redis_that_hangs_is_not_called_live(airflow: Nights, reader: Callable[..., Reader]) -> None:
    person = reader()
    page = person.alone("?search=sales")
    expect(page.locator(".live.on")).to_be_visible()
    server = airflow.stack.service("valkey").pid
    os.kill(server, signal.SIGSTOP)
    try:
        expect(page.get_by_role("alert").filter(has_text=OLD)).to_be_visible(timeout=60_000)
        expect(page.locator(".live.on")).to_have_count(0)
        expect(page.get_by_role("link", name="sales", exact=True).first).to_be_visible()
    finally:
        os.kill(server, signal.SIGCONT)
    expect(page.locator(".live.on")).to_be_visible(timeout=60_000)
    person.faults = [fault for fault in person.faults if "503" not in fault]
