# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Python API for programs without Airflow: open, close, read and await batches in Redis.

The names in ``__all__`` are supported. All modules of this package are private. An import of this package loads none
of them; each name is loaded when it is first used.

::

    from batchy_provider.state import CloseRequest, Holder, OpenRequest, WorkflowConfig, connect

    store = connect("redis://localhost:6379/0")
    config = WorkflowConfig(name="sales", jobs={"extract": {}, "load": {"reprocess_hours": 2}})
    batch = store.open("sales", OpenRequest(config=config, holder=Holder(by="nightly.py on host-1")))
    try:
        ...  # load the data from batch.from_date (inclusive) to batch.to_date (exclusive)
    except BaseException:
        store.close("sales", CloseRequest(result="failed", batch_id=batch.batch_id))
        raise
    store.close("sales", CloseRequest(result="success", batch_id=batch.batch_id))
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from batchy_provider.core.values import Actor, Batch, CloseRequest, Holder, OpenRequest, Window, WorkflowConfig
    from batchy_provider.core.waits import Verdict, Wait
    from batchy_provider.core.workflow_state import WorkflowState
    from batchy_provider.state.store import Store

__all__ = [
    "Actor",
    "Batch",
    "CloseRequest",
    "Holder",
    "OpenRequest",
    "Store",
    "Verdict",
    "Wait",
    "Window",
    "WorkflowConfig",
    "WorkflowState",
    "connect",
]

_MODULES = {
    "Store": "batchy_provider.state.store",
    "Verdict": "batchy_provider.core.waits",
    "Wait": "batchy_provider.core.waits",
    "WorkflowState": "batchy_provider.core.workflow_state",
} | dict.fromkeys(
    ("Actor", "Batch", "CloseRequest", "Holder", "OpenRequest", "Window", "WorkflowConfig"),
    "batchy_provider.core.values",
)


def connect(url: str, *, retry_seconds: float | None = None) -> Store:
    """Return a store on the Redis at a URL.

    A single server is first contacted when the store is first used, a Redis Cluster at once. The store has no archive:
    it does not ask the archive before an opening, and writes nothing to it.

    :param url: ``redis://``, ``rediss://``, ``unix://``, ``redis+cluster://`` or ``redis+sentinel://``. Options may
        follow a ``?``, ``wait_replicas`` and ``wait_replicas_ms`` included.
    :param retry_seconds: how long to retry after a lost connection before the call fails; None for the default.
    :raises ConfigError: if the URL or one of its options is not valid.
    :raises RedisUnavailableError: if no node of a Redis Cluster can be reached.
    """
    from batchy_provider.state import connections

    address = connections.parse_url(url)
    return connections.store(address, connections.client(address), retry_seconds=retry_seconds)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_MODULES[name]), name)
    globals()[name] = value
    return value
