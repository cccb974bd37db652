# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Many requests at once need one plan, and each gets one with all that had happened when it asked."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import pytest

from batchy_provider.config.reader import Folder
from batchy_provider.plan.why_facts import Facts
from batchy_provider.services import plan_cache
from batchy_provider.services.plan_cache import Plan, PlanCache

FOLDER = Folder(workflows={}, diagnostics=[])


class Feed:
    """Events that a test makes."""

    is_live = True

    def __init__(self) -> None:
        self._take: Callable[[Any], None] = lambda event: None

    @contextmanager
    def watch(self, take: Callable[[Any], None]) -> Iterator[None]:
        self._take = take
        yield

    def happen(self) -> None:
        self._take({"event": "opened", "workflow": "erp"})


class Maker:
    """Makes plans: the first one when it may go on."""

    def __init__(self) -> None:
        self.plans: list[Plan] = []
        self.began, self.may_go_on = threading.Event(), threading.Event()
        self.error: Exception | None = None

    def make(self) -> Plan:
        plan = Plan(24, FOLDER, Facts(now=datetime(2026, 1, 1), workflows={}), [])
        self.plans.append(plan)
        if len(self.plans) == 1:
            self.began.set()
            assert self.may_go_on.wait(60)
            if self.error is not None:
                raise self.error
        return plan


@pytest.fixture
def feed() -> Feed:
    return Feed()


@pytest.fixture
def maker() -> Maker:
    return Maker()


@pytest.fixture
def asked(feed: Feed, maker: Maker) -> Iterator[list[Future[Plan]]]:
    """One request that makes a plan, and seven that came while it did."""
    cache = PlanCache(lambda: feed, lambda workflow: None)
    entered = threading.Semaphore(0)

    def ask() -> Plan:
        entered.release()
        return cache.get(24, FOLDER, (), maker.make)

    with ThreadPoolExecutor(8) as pool:
        requests = [pool.submit(ask)]
        assert maker.began.wait(60)
        requests += [pool.submit(ask) for _ in range(7)]
        for _ in range(8):
            assert entered.acquire(timeout=60)
        time.sleep(0.1)  # all of them are at work, or wait
        yield requests
        maker.may_go_on.set()


def test_requests_at_once_share_one_plan(asked: list[Future[Plan]], maker: Maker) -> None:
    maker.may_go_on.set()
    assert {id(each.result(60)) for each in asked} == {id(maker.plans[0])}
    assert len(maker.plans) == 1


def test_what_happens_while_a_plan_is_made_is_in_that_of_those_who_wait(
    asked: list[Future[Plan]], maker: Maker, feed: Feed
) -> None:
    feed.happen()
    maker.may_go_on.set()
    assert asked[0].result(60) is maker.plans[0]
    assert {id(each.result(60)) for each in asked[1:]} == {id(maker.plans[1])}
    assert len(maker.plans) == 2


def test_an_error_is_that_of_one_request(asked: list[Future[Plan]], maker: Maker) -> None:
    maker.error = RuntimeError("Airflow's database does not answer")
    maker.may_go_on.set()
    with pytest.raises(RuntimeError, match="does not answer"):
        asked[0].result(60)
    assert {id(each.result(60)) for each in asked[1:]} == {id(maker.plans[1])}


def test_nobody_waits_for_ever(
    monkeypatch: pytest.MonkeyPatch, feed: Feed, maker: Maker, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setattr(plan_cache, "_WAIT_SECONDS", 0.01)
    first, *others = request.getfixturevalue("asked")
    assert all(each.result(60) in maker.plans[1:] for each in others)
    assert not first.done()


def test_without_events_nobody_waits(feed: Feed, maker: Maker, request: pytest.FixtureRequest) -> None:
    feed.is_live = False
    first, *others = request.getfixturevalue("asked")
    assert len({id(each.result(60)) for each in others}) == 7
    assert not first.done()
