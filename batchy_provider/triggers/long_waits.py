# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Log why long waits go on: one look in a minute for all waits of a triggerer that use the same Airflow connection."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from batchy_provider.config.catalog import Catalog
    from batchy_provider.hooks.batchy import BatchyHook
    from batchy_provider.services.wait_explanations import WaitExplanation

log = logging.getLogger(__name__)

PAUSE_SECONDS = 60.0
_looks: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, LongWaits]] = WeakKeyDictionary()


@dataclass(eq=False)
class _Wait:
    """One wait.

    :param began: Unix seconds.
    :param missing: returns the workflows that have not succeeded.
    :param known: workflow → the reason that was logged last.
    """

    began: float
    missing: Callable[[], Collection[str]]
    report: Callable[[str], object]
    known: dict[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)


class LongWaits:
    """Explains the waits of one event loop that last long. Each reason is logged once, until it changes.

    :param hook: the connection.
    """

    def __init__(self, hook: BatchyHook) -> None:
        self._hook = hook
        self._waits: set[_Wait] = set()
        self._task: asyncio.Task[None] | None = None
        self._catalog: Catalog | None = None

    @contextmanager
    def explain(
        self, missing: Callable[[], Collection[str]], began: float, report: Callable[[str], object]
    ) -> Iterator[None]:
        """Call `report` with each new reason while the context lasts.

        :param missing: returns the workflows that have not succeeded.
        :param began: when the wait began, Unix seconds.
        """
        wait = _Wait(began, missing, report)
        self._waits.add(wait)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
        try:
            yield
        finally:
            self._waits.discard(wait)

    async def _run(self) -> None:
        from batchy_provider.services.wait_explanations import LONG_SECONDS

        while self._waits:
            await asyncio.sleep(PAUSE_SECONDS)
            now = time.time()
            long = [wait for wait in self._waits if now - wait.began >= LONG_SECONDS]
            if names := {name for wait in long for name in wait.missing()}:
                try:
                    _report(long, await self._hook.look(partial(self._ask, workflows=names)))
                except Exception:  # Redis that cannot be reached is in the log of each wait already
                    log.debug("Long waits are not explained", exc_info=True)

    def _ask(self, store: Any, *, workflows: Collection[str]) -> dict[str, WaitExplanation]:
        from batchy_provider.config.catalog import Catalog
        from batchy_provider.hooks.deployment import cfg_folder
        from batchy_provider.services.wait_explanations import explain_waits

        if self._catalog is None:
            self._catalog = Catalog(cfg_folder())
        return explain_waits(store, self._catalog, workflows)


def long_waits(redis_conn_id: str | None) -> LongWaits:
    """Return what explains the waits of a connection in the running event loop.

    :param redis_conn_id: the connection; None for ``[batchy] redis_conn_id``.
    """
    from batchy_provider.hooks.batchy import BatchyHook

    hook = BatchyHook(redis_conn_id)
    looks = _looks.setdefault(asyncio.get_running_loop(), {})
    return looks.setdefault(hook.redis_conn_id, LongWaits(hook))


def _report(waits: Collection[_Wait], found: dict[str, WaitExplanation]) -> None:
    for wait in waits:
        for name in sorted(wait.missing()):
            reason = found.get(name)
            if reason is not None and wait.known.get(name) != reason.chain:
                wait.known[name] = reason.chain
                wait.report(reason.text)
