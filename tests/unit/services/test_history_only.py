# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""A workflow that was only backfilled or filled, and never opened live: all faces find its batches."""

from __future__ import annotations

import pytest
import redis
from loaded_nights import load
from why_nights import write

from batchy_provider.services.batch_history import HistoryQuery
from batchy_provider.services.composition import Services


@pytest.fixture
def loaded(services: Services) -> Services:
    """Two windows of ``sales`` are loaded as history, and nothing live."""
    for day in (1, 2):
        load(services, day, day + 1, live=False)
    return services


def started_later(services: Services) -> Services:
    """Return services that have heard no event of what was loaded."""
    return Services(store=lambda: services.store, cfg=services.catalog.folder)


def test_the_history_of_all_workflows_has_its_batches(loaded: Services) -> None:
    later = started_later(loaded)
    everything = later.history.find(HistoryQuery()).rows
    assert [(row.workflow, row.kind, row.status) for row in everything] == [("sales", "history", "success")] * 2
    assert everything == later.history.find(HistoryQuery(workflows=["sales"])).rows


def test_tonight_shows_its_batches(loaded: Services) -> None:
    write(loaded.catalog.folder, "sales", schedule=None)
    later = started_later(loaded)
    (row,) = later.tonight.show(later.tonight.span()).items
    assert [(run.kind, run.state) for run in row.runs] == [("history", "success")] * 2


def test_old_batches_of_it_are_pruned_with_those_of_all_workflows(loaded: Services) -> None:
    removals = loaded.retention.each(keep=1, with_results=False)
    assert {name: remove().batches for name, remove in removals.items()} == {"sales": 1}
    assert loaded.retention.each("sales", keep=1, with_results=False)["sales"]().batches == 0


def test_hashes_of_other_programs_are_no_workflows(services: Services, redis_client: redis.Redis) -> None:
    """Also not those whose names end as those of this package."""
    redis_client.hset("session", "user", "1")
    redis_client.hset("basket:meta", "user", "1")
    redis_client.set("cart", "1")
    redis_client.hset("cart:meta", "user", "1")
    redis_client.zadd("cart:history", {"1": 1})
    assert services.names.all() == {"session"}
    assert services.why.all() == {}
    assert services.workflows.summaries() == []
    assert services.retention.each(keep=1, with_results=False) == {}
    load(services, 1, 2)
    assert [*services.why.all()] == ["sales"]
