# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Watchdog: stop a script when its supervisor dies or someone else closes its batch.

Airflow runs a task in a process of its own. Another process, the supervisor, watches it and sends the heartbeats. If
only the supervisor is killed (by the kernel's out-of-memory killer, for example), the task goes on. Airflow misses the
heartbeats and starts another try, so two scripts would load the same window. The same happens when another run takes
a batch over, or a person closes it as failed, while its script runs.
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
    from batchy_provider.core.values import Batch
    from batchy_provider.state.store import Store

_HUNG_UP = getattr(select, "POLLRDHUP", 0) | select.POLLHUP  # the first exists on Linux only
_POLL_SECONDS = 0.5
BATCH_SECONDS = 10.0
"""Seconds between two checks of a running script's batch."""
NO_SUPERVISOR = "the supervisor of its task was killed, so Airflow will count the task as failed"


@contextlib.contextmanager
def watchdog(
    cancel: Callable[[str], None], *, supervisor: int | None, batch_end: Callable[[], str | None] | None = None
) -> Iterator[None]:
    """Cancel the script if it must not go on, while the block runs.

    :param cancel: called at most once, in another thread, with the reason.
    :param supervisor: descriptor of this process's socket to the supervisor; None where there is none: `dag.test()`.
    :param batch_end: returns why the batch is over; None while it is open or cannot be read.
    """
    over = threading.Event()
    arguments = (over, cancel, supervisor, batch_end)
    thread = threading.Thread(target=_watch, args=arguments, name="batchy-watchdog", daemon=True)
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
    batch_end: Callable[[], str | None] | None,
) -> None:
    poll = select.poll()
    if supervisor is not None:
        poll.register(supervisor, _HUNG_UP)  # not POLLIN: the task itself reads what arrives
    next_check = time.monotonic() + BATCH_SECONDS
    while not over.wait(_POLL_SECONDS):
        reason = NO_SUPERVISOR if supervisor is not None and poll.poll(0) else None
        if reason is None and batch_end is not None and time.monotonic() >= next_check:
            reason = batch_end()
            next_check = time.monotonic() + BATCH_SECONDS
        if reason is not None:
            cancel(reason)
            return


class BatchEnd:
    """Say why a script's batch is over, if someone else closed it as failed.

    A batch that cannot be read is no reason to stop the script.

    :param store: where the workflow's state is; None outside of a workflow. ``batch`` likewise.
    """

    def __init__(self, store: Store | None, batch: Batch | None) -> None:
        from batchy_provider.state.store import Store

        # No retries: while this call waits, the watchdog does not watch the supervisor.
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
        return f"batch {batch_id} of {workflow} was closed as failed while it ran: another run or a person ended it"


def lock_name(ti: Any, batch: Batch | None) -> str:
    """Return the name of the lock that allows one script at a time.

    One lock is for a task's live batch, one for each batch in history. Without a batch it is for the run.

    :param ti: the running task's instance.
    """
    unit = ti.run_id if batch is None else "live" if batch.kind == "live" else str(batch.batch_id)
    parts = (ti.dag_id if batch is None else batch.workflow, ti.task_id, str(ti.map_index), unit)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]
