# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""
What ends a script that must not go on, since its window is being loaded by another, or will be.

Airflow runs a task in a process of its own and watches over it from another, the supervisor, which sends the
heartbeats. A supervisor that is killed alone (by the kernel's out-of-memory killer, say) takes nothing with it: its
task would go on unseen, beside the try that Airflow starts in its place when the heartbeats are missed. And a batch
may be ended by others while its script runs: taken over by another run, or failed by a person.
"""

from __future__ import annotations

import contextlib
import hashlib
import select
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator

    from batchy_provider.core.values import Batch
    from batchy_provider.state.store import Store

_HUNG_UP = getattr(select, "POLLRDHUP", 0) | select.POLLHUP  # the first is there on Linux alone
_LOOK_SECONDS = 0.5
BATCH_SECONDS = 10.0
"""How often a running script's batch is looked at."""
NO_SUPERVISOR = "the supervisor of its task was killed, so Airflow will count the task as failed"


@contextlib.contextmanager
def watched(
    cancel: Callable[[str], None], *, supervisor: int | None, ended: Callable[[], str | None] | None = None
) -> Iterator[None]:
    """
    Cancel, once and with the reason, what must not go on, while the block runs.

    :param cancel: called in another thread.
    :param supervisor: this process' end of the socket to the supervisor; None where there is none: `dag.test()`.
    :param ended: says why the batch is over, or None while it is not or cannot be told.
    """
    over = threading.Event()
    arguments = (over, cancel, supervisor, ended)
    thread = threading.Thread(target=_watch, args=arguments, name="batchy-lifeline", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _watch(
    over: threading.Event,
    cancel: Callable[[str], None],
    supervisor: int | None,
    ended: Callable[[], str | None] | None,
) -> None:
    poll = select.poll()
    if supervisor is not None:
        poll.register(supervisor, _HUNG_UP)  # not POLLIN: what comes is for the task to read
    next_look = time.monotonic() + BATCH_SECONDS
    while not over.wait(_LOOK_SECONDS):
        reason = NO_SUPERVISOR if supervisor is not None and poll.poll(0) else None
        if reason is None and ended is not None and time.monotonic() >= next_look:
            reason = ended()
            next_look = time.monotonic() + BATCH_SECONDS
        if reason is not None:
            cancel(reason)
            return


class Ended:
    """Tells whether others have ended the batch that a script runs for; not to know is no reason to stop it."""

    def __init__(self, store: Store | None, batch: Batch | None) -> None:
        from batchy_provider.state.store import Store

        # Without patience: while this asks, nobody looks at the supervisor.
        self._store = store and Store(store.backend.client, cluster=store.backend.cluster, retry_seconds=0)
        self._batch = batch

    def __call__(self) -> str | None:
        from batchy_provider.exceptions import BatchyError

        if self._store is None or self._batch is None:
            return None
        workflow, batch_id = self._batch.workflow, self._batch.batch_id
        try:
            now = self._store.batch(workflow, batch_id)
        except BatchyError:
            return None
        if now.status != "failed":
            return None
        return f"batch {batch_id} of {workflow} was ended by others (taken over, or failed by hand) while it ran"


def claim_name(operator: BaseOperator, context: Any, batch: Batch | None) -> str:
    """Name what only one script may do at a time: a task's live batch, its batch in history, or its run without any."""
    ti = context["ti"]
    unit = ti.run_id if batch is None else "live" if batch.kind == "live" else str(batch.batch_id)
    parts = (ti.dag_id if batch is None else batch.workflow, operator.task_id, str(ti.map_index), unit)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]
