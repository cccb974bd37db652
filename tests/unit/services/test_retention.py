# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Old batches are removed from Redis and their results from the result store, each workflow by itself."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pytest
from redis import Redis

from batchy_provider.core.values import CloseRequest, OpenRequest, WorkflowConfig
from batchy_provider.exceptions import UnknownWorkflowError
from batchy_provider.services.retention import Removed, RetentionService
from batchy_provider.state.store import Store


class Results:
    """A result store of two workflows, that remembers what it is to remove."""

    def __init__(self) -> None:
        self.pruned: dict[str, tuple[int, Collection[str]]] = {}

    def workflows(self) -> list[str]:
        return ["sales", "no_workflow"]

    def prune(self, workflow: str, *, keep: int, spare: Collection[str]) -> int:
        self.pruned[workflow] = keep, spare
        return 7


def never() -> Any:
    raise AssertionError("nobody asked for the results")


@pytest.fixture
def store(redis_client: Redis) -> Store:
    """Three closed batches of the workflow sales, and one of crm."""
    store = Store(redis_client)
    for name in ("sales", "sales", "sales", "crm"):
        store.open(name, OpenRequest(config=WorkflowConfig(name=name, jobs={"a": {}})))
        store.close(name, CloseRequest(result="success"))
    return store


def test_all_workflows_and_dags_with_results(store: Store) -> None:
    results: Any = Results()
    service = RetentionService(store=lambda: store, results=lambda: results, archive=lambda: None)
    removed = {name: remove() for name, remove in service.each(keep=2).items()}
    assert removed == {
        "crm": Removed(batches=0, results=7),
        "no_workflow": Removed(batches=0, results=7),
        "sales": Removed(batches=1, results=7),
    }
    kept = [str(batch.batch_id) for batch in store.history("sales")]
    assert len(kept) == 2
    keep, spare = results.pruned["sales"]
    assert (keep, list(spare)) == (2, kept), "results of batches in the history stay"
    assert results.pruned["no_workflow"] == (2, [])


def test_without_results_no_other_store_is_opened(store: Store) -> None:
    service = RetentionService(store=lambda: store, results=never, archive=never)
    calls = service.each("sales", keep=1, with_results=False)
    assert {name: remove() for name, remove in calls.items()} == {"sales": Removed(batches=2, results=0)}


def test_a_mistyped_name_is_an_error_before_anything_is_removed(store: Store) -> None:
    results: Any = Results()
    service = RetentionService(store=lambda: store, results=lambda: results, archive=lambda: None)
    with pytest.raises(UnknownWorkflowError):
        service.each("saels", keep=1)
    assert list(service.each("no_workflow", keep=1)) == ["no_workflow"]
