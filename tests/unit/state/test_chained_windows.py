# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""A chain of workflows, each of which loads what the one before it has loaded: none reads ahead of its source."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest
from redis import Redis
from state_worlds import Clock
from thoroughness import scaled

from batchy_provider.core.dates import format_date, parse_date
from batchy_provider.core.intervals import Interval, contiguous_end
from batchy_provider.core.values import Batch, CloseRequest, Holder, OpenRequest, WorkflowConfig
from batchy_provider.core.vocabulary import NothingToLoad
from batchy_provider.core.window_shape import WindowShape
from batchy_provider.exceptions import NothingToLoadError
from batchy_provider.state.extent_query import read_extent
from batchy_provider.state.store import Store

SINCE = datetime(2026, 11, 1)
CHAIN = ("source", "middle", "end")


@dataclass
class Chain:
    """Three workflows, and what each of their jobs has loaded."""

    store: Store
    clock: Clock
    number: int = 0
    loaded: dict[str, dict[str, list[Interval]]] = field(
        default_factory=lambda: {name: {"a": [], "b": []} for name in CHAIN}
    )

    def config(self, workflow: str, **shape: Any) -> WorkflowConfig:
        before = CHAIN[CHAIN.index(workflow) - 1] if workflow != CHAIN[0] else None
        until: dict[str, Any] = {} if before is None else {"until": "workflows", "workflows": (before,)}
        job = {"initial_date": format_date(SINCE), "reprocess_hours": 3}
        return WorkflowConfig(
            name=workflow, jobs={"a": dict(job), "b": dict(job)}, window=WindowShape(**until, **shape)
        )

    def open(self, workflow: str, **shape: Any) -> Batch:
        self.number += 1
        config = self.config(workflow, **shape)
        holder = Holder(dag_id=workflow, run_id=f"run {self.number}")
        return self.store.open(workflow, OpenRequest(holder=holder, config=config, if_open="take_over"))

    def close(self, batch: Batch, result: str = "success") -> None:
        self.store.close(batch.workflow, CloseRequest(result=result, batch_id=batch.batch_id))
        left_out = batch.record.left_out if batch.record else ()
        for name, job in batch.jobs.items():
            if result == "success" and name not in left_out:
                window = Interval(parse_date(job["from_date"]), parse_date(job["to_date"]))
                self.loaded[batch.workflow][name].append(window)

    def reached(self, workflow: str) -> datetime:
        """Up to where all enabled jobs have loaded."""
        off = self.store.status(workflow).disabled if any(self.loaded[workflow].values()) else ()
        return min(contiguous_end(each, SINCE) for name, each in self.loaded[workflow].items() if name not in off)


@pytest.fixture
def chain(redis_client: Redis) -> Iterator[Chain]:
    clock = Clock()
    clock.now = SINCE + timedelta(days=2)
    return Chain(Store(redis_client, clock=clock.read), clock)


@pytest.mark.parametrize("seed", range(3))
def test_no_workflow_of_a_chain_ever_reads_ahead_of_its_source(chain: Chain, seed: int) -> None:
    chance = random.Random(seed)  # a test
    shapes: dict[str, dict[str, Any]] = {
        "source": {"max": timedelta(hours=30)},
        "middle": {"align": "hour", "delay": timedelta(minutes=20)},
        "end": {"align": "day", "max": timedelta(days=1)},
    }
    opened = 0
    for _ in range(scaled(120)):
        chain.clock.now += timedelta(hours=chance.randint(1, 9), minutes=chance.randint(0, 59))
        workflow = chance.choice(CHAIN)
        if (
            chance.random() < 0.1
            and chain.store.workflows().count(workflow)
            and not chain.store.status(workflow).holder
        ):
            switch = chance.choice([chain.store.disable, chain.store.enable])
            switch(workflow, "b", by="ops")
        source = None if workflow == CHAIN[0] else CHAIN[CHAIN.index(workflow) - 1]
        before = None if source is None else chain.reached(source)
        try:
            batch = chain.open(workflow, **shapes[workflow])
        except NothingToLoadError:
            continue
        opened += 1
        assert batch.to_date is not None
        if before is not None:
            assert parse_date(batch.to_date) <= before, "nobody reads ahead of the source"
        how = chance.choice(["success", "success", "failed", "killed"])
        if how != "killed":
            chain.close(batch, how)
    assert opened > 10
    for workflow in CHAIN:
        for each in ("a", "b"):
            assert contiguous_end(chain.loaded[workflow][each], SINCE) == max(
                (window.end for window in chain.loaded[workflow][each]), default=SINCE
            ), "without a gap"


def test_a_chain_stands_still_where_its_middle_fails_and_goes_on_after_that(chain: Chain) -> None:
    chain.close(chain.open("source"))
    chain.close(chain.open("middle"))
    chain.close(chain.open("end"))
    chain.clock.now += timedelta(days=1)
    chain.close(chain.open("source"))
    chain.close(chain.open("middle"), "failed")
    with pytest.raises(NothingToLoadError, match=r"and middle has loaded its own up to 2026-11-03") as caught:
        chain.open("end")
    assert caught.value.code == NothingToLoad.UPSTREAM_BEHIND.value
    chain.close(chain.open("middle"))
    assert chain.open("end").to_date == format_date(chain.clock.now)


def test_a_source_that_is_loading_its_overlap_again_has_lost_nothing(chain: Chain) -> None:
    chain.close(chain.open("source"))
    chain.clock.now += timedelta(hours=1)
    opened = chain.open("source")
    assert opened.from_date == format_date(chain.clock.now - timedelta(hours=4))
    assert read_extent(chain.store.backend, "source").end == chain.clock.now - timedelta(hours=1)


def test_a_window_that_a_person_sets_back_takes_the_source_back(chain: Chain) -> None:
    chain.close(chain.open("source"))
    chain.store.set_window("source", SINCE + timedelta(hours=5), by="ops")
    assert chain.open("middle").to_date == format_date(SINCE + timedelta(hours=5))


@pytest.mark.parametrize("state", ["unknown", "never loaded", "all off"])
def test_a_source_that_has_loaded_nothing_leaves_nothing_to_load(chain: Chain, state: str) -> None:
    if state != "unknown":
        chain.close(chain.open("source"), "success" if state == "all off" else "failed")
    if state == "all off":
        chain.store.disable("source", "a", by="ops")
        chain.store.disable("source", "b", by="ops")
    with pytest.raises(NothingToLoadError) as caught:
        chain.open("middle")
    assert caught.value.code == NothingToLoad.UPSTREAM_UNKNOWN.value
    words = {
        "unknown": "is not in Redis",
        "never loaded": "has not loaded anything yet",
        "all off": "has no job that is",
    }
    assert words[state] in str(caught.value)
    assert "middle" not in chain.store.workflows()
