# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Calls of the store that its tests make: a request, a batch that succeeds, each change and each question."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from state_worlds import WORKFLOW

from batchy_provider.core.values import Actor, Batch, CloseRequest, Holder, OpenRequest, Window, WorkflowConfig
from batchy_provider.state.store import Store


def request(run: str | None = "first", jobs: dict[str, Any] | None = None, **wish: Any) -> OpenRequest:
    holder = Holder(dag_id=WORKFLOW, run_id=run) if run else Holder(by="ops")
    return OpenRequest(holder=holder, config=WorkflowConfig(name=WORKFLOW, jobs=jobs or {"extract": {}}), **wish)


def succeed(store: Store, run: str, **wish: Any) -> Batch:
    batch = store.open(WORKFLOW, request(run, **wish))
    return store.close(WORKFLOW, CloseRequest(result="success", batch_id=batch.batch_id))


CHANGES: dict[str, Callable[[Store], Any]] = {
    "open": lambda store: store.open(WORKFLOW, request("second")),
    "open a window": lambda store: store.open(WORKFLOW, request("second", window=Window(from_date="2026-01-01"))),
    "close": lambda store: store.close(WORKFLOW, CloseRequest(result="success")),
    "set_window": lambda store: store.set_window(WORKFLOW, "2026-01-01", by="ops"),
    "disable": lambda store: store.disable(WORKFLOW, "extract", by="ops"),
    "hold": lambda store: store.hold(WORKFLOW, by=Actor("ops"), why="migration"),
    "skip_job": lambda store: store.skip_job(WORKFLOW, 17, "extract"),
}

QUESTIONS: dict[str, Callable[[Store], Any]] = {
    "status": lambda store: store.status(WORKFLOW),
    "history": lambda store: store.history(WORKFLOW),
    "batch": lambda store: store.batch(WORKFLOW, 17),
    "batch_of_run": lambda store: store.batch_of_run(WORKFLOW, "first"),
    "batch_and_disabled": lambda store: store.batch_and_disabled(WORKFLOW, "first"),
    "prune": lambda store: store.prune(WORKFLOW, keep=1),
    "prune all": lambda store: store.prune(WORKFLOW, keep=1, keep_days=1),
    "progress": lambda store: store.progress(WORKFLOW),
    "set_progress": lambda store: store.set_progress(WORKFLOW, "extract", {"progress": 1}),
}
