# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The state machine of a wait: what to report, when to ask again, and when it is over; no Redis, no clock."""

from __future__ import annotations

import pytest

from batchy_provider.core.waits import Verdict
from batchy_provider.services.waiter import OUTAGE_PAUSE_SECONDS, Waiter

OPEN = Verdict(state="waiting", text="crm: batch 1 is open")
DONE = Verdict(state="done", text="crm: batch 1 succeeded", batch_id=1)
FAILED = Verdict(state="failed", text="erp: batch 2 failed", batch_id=2)


def test_the_same_answer_is_reported_once_and_outages_do_not_change_that() -> None:
    waiter = Waiter(["crm"], began=0)
    assert [waiter.take("crm", OPEN), waiter.take("crm", OPEN)] == [True, False]
    assert [waiter.lose("Redis is away"), waiter.lose("Redis is away"), waiter.lose("it loads")] == [True, False, True]
    assert not waiter.take("crm", OPEN)
    assert waiter.lose("it loads"), "the next outage is reported, even with the same text"
    assert not waiter.is_over


def test_all_must_be_done_and_one_failure_is_enough() -> None:
    waiter = Waiter(["crm", "erp", "crm"], began=100)
    assert waiter.workflows == ("crm", "erp")
    waiter.take("crm", DONE)
    assert (waiter.is_over, waiter.state) == (False, "waiting")
    waiter.take("erp", FAILED)
    assert (waiter.is_over, waiter.state, waiter.text) == (True, "failed", "erp: batch 2 failed")
    assert waiter.batches == {"crm": 1, "erp": 2}
    assert waiter.summary(190) == "erp: batch 2 failed; waited 1m30s"


@pytest.mark.parametrize(
    ("timeout", "now", "after_answer", "after_outage"),
    [
        (None, 1e9, 60, OUTAGE_PAUSE_SECONDS),
        (100, 20, 60, OUTAGE_PAUSE_SECONDS),
        (100, 97, 3, 3),
        (100, 100, 0, 0),
        (0, 0, 0, 0),
    ],
)
def test_when_to_ask_again_and_when_the_time_is_up(
    timeout: float | None, now: float, after_answer: float, after_outage: float
) -> None:
    waiter = Waiter(["crm"], began=0, timeout=timeout)
    waiter.take("crm", OPEN)
    assert waiter.pause(now) == after_answer
    waiter.lose("Redis is away")
    assert waiter.pause(now) == after_outage
    waiter.take("crm", OPEN)
    assert waiter.pause(now) == after_answer
