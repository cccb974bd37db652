# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Keep the batches of a night in a long-running process, and read from Redis only those of workflows that changed."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from batchy_provider.state.outline_reader import BatchesInSpan, OutlineReader, most_of_one

if TYPE_CHECKING:
    from batchy_provider.state.backend import Backend
    from batchy_provider.state.outline_reader import Ask
    from batchy_provider.state.protocol import Command
    from batchy_provider.state.state_cache import StateCache

_MOST_SPANS = 8
_NONE = 0
"""No version: what was read is not kept."""


@dataclass(slots=True)
class _Span:
    """What was read of one span of time.

    :param versions: workflow → the version of its state since when its batches are known; see `StateCache.versions`.
    """

    versions: dict[str, int] = field(default_factory=dict)
    batches: dict[str, BatchesInSpan] = field(default_factory=dict)


class _Asking:
    """Asks questions, and remembers the workflows with an error among the replies: it may pass without a change.

    :param ask: sends the commands.
    """

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self.failed: set[str] = set()

    def __call__(self, asked: Sequence[tuple[str, Command]]) -> list[Any]:
        replies = self._ask(asked)
        self.failed |= {name for (name, _), reply in zip(asked, replies, strict=True) if isinstance(reply, Exception)}
        return replies


class SpanOutlines:
    """Return the batches of workflows in a span of time, as new as if they were read from Redis now.

    What has not changed is the same object in each answer. Safe to share between threads.

    :param states: returns what learns from Redis which workflows have changed; None: everything is read each time.
    """

    def __init__(self, states: Callable[[], StateCache] | None = None) -> None:
        self._states = states
        self._reader = OutlineReader()
        self._lock = threading.Lock()
        self._spans: OrderedDict[tuple[datetime, datetime, int], _Span] = OrderedDict()

    def read(
        self, backend: Backend, names: Collection[str], since: datetime, until: datetime
    ) -> dict[str, BatchesInSpan]:
        """Return workflow → its batches that were open at some moment of a span; see `OutlineReader.read`."""
        states = self._states() if self._states is not None else None
        versions = states.versions(names) if states is not None else None
        if states is None or versions is None:
            return self._reader.read(backend, names, since, until)
        most = most_of_one(len(names))
        with self._lock:
            span = self._span(since, until, most)
            known = {name: span.batches[name] for name in names if span.versions.get(name) == versions[name]}
        new = [name for name in names if name not in known]
        if not new:
            return known
        asking = _Asking(states.ask)
        read = self._reader.read(backend, new, since, until, most=most, ask=asking)
        with self._lock:
            # A change since the versions were asked makes newer ones, so what was read then is read again.
            span.batches |= read
            for name, found in read.items():
                # What jobs do changes the hash of an open batch, of which Redis tells nothing.
                is_open = any(batch.ended is None for batch in found.batches)
                span.versions[name] = _NONE if is_open or name in asking.failed else versions[name]
        return known | read

    def _span(self, since: datetime, until: datetime, most: int) -> _Span:
        span = self._spans.setdefault((since, until, most), _Span())
        self._spans.move_to_end((since, until, most))
        while len(self._spans) > _MOST_SPANS:
            self._spans.popitem(last=False)
        return span
