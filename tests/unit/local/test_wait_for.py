# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Waiting for an answer: how often it asks, and when it gives up."""

from __future__ import annotations

import pytest

from batchy_provider.local import rest
from batchy_provider.local.process import StackError


class Clock:
    """Time that passes while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(rest, "time", clock)
    return clock


def test_it_asks_less_often_the_longer_it_waits(clock: Clock) -> None:
    assert rest.wait_for(lambda: clock.now > 30, "half a minute", timeout=60)
    assert clock.pauses[0] == 0.25
    assert clock.pauses == sorted(clock.pauses)
    assert clock.pauses[-1] == 0.75


def test_an_interval_of_its_own_stays(clock: Clock) -> None:
    rest.wait_for(lambda: clock.now > 1, "a second", timeout=60, interval=0.125)
    assert set(clock.pauses) == {0.125}


def test_an_answer_at_once_waits_for_nothing(clock: Clock) -> None:
    assert rest.wait_for(lambda: "answer", "it", timeout=0) == "answer"
    assert not clock.pauses


def test_it_gives_up_when_the_time_is_over(clock: Clock) -> None:
    with pytest.raises(StackError, match=r"Waited 5 seconds for the end; it did not happen\."):
        rest.wait_for(lambda: None, "the end", timeout=5)
    assert 5 < clock.now < 6
