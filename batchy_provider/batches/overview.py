# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Which workflows are in a Redis, and how all of them stand, in few round trips."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from batchy_provider.batches import snapshot as snap
from batchy_provider.batches.layout import last_success_command, load_snapshot, with_facts
from batchy_provider.batches.model import WorkflowState
from batchy_provider.batches.names import Keys, is_workflow_name
from batchy_provider.batches.rules.views import workflow_state
from batchy_provider.batches.snapshot import Snapshot
from batchy_provider.batches.transaction import Command, decoded, own_errors
from batchy_provider.exceptions import StateError

if TYPE_CHECKING:
    from batchy_provider.batches.store import BatchStore

_SCAN_COUNT = 1000
_KEYS_AT_ONCE = 10_000


def overview(store: BatchStore, names: Collection[str] | None = None) -> list[WorkflowState]:
    """Return workflows as they stand, by name; hashes of other programs are passed over.

    Takes two round trips for each thousand workflows, and, without `names`, those of `candidates`.

    :param names: which; one that is not in Redis is left out. None for all.
    """
    states: list[WorkflowState] = []
    wanted = sorted(candidates(store) if names is None else names)
    for start in range(0, len(wanted), _SCAN_COUNT):
        asked = [Keys(name, store.cluster) for name in wanted[start : start + _SCAN_COUNT]]
        commands: list[Command] = []
        for keys in asked:
            commands += [
                ("HGETALL", keys.live),
                ("HMGET", keys.meta, *snap.META_FIELDS),
                ("HGETALL", keys.progress),
            ]
        replies = _pipelined(store, commands)
        found: list[tuple[Snapshot, dict[str, str]]] = []
        for keys, live, meta, progress in zip(asked, replies[::3], replies[1::3], replies[2::3], strict=True):
            if isinstance(live, dict) and live and isinstance(meta, list) and isinstance(progress, dict):
                with contextlib.suppress(StateError):
                    found.append((load_snapshot(keys, live, meta, None), progress))
        succeeded = _pipelined(store, [last_success_command(store.keys(s.workflow), s) for s, _ in found])
        for (state, progress), score in zip(found, succeeded, strict=True):
            states.append(with_facts(workflow_state(state), state, progress, score))
    return states


def _pipelined(store: BatchStore, commands: Sequence[Command]) -> list[Any]:
    """Send commands about many workflows in one packet a server; an error is a reply."""
    if not commands:
        return []
    pipe = store.client.pipeline(transaction=False)
    for command in commands:
        pipe.execute_command(*command)
    with own_errors(store.client):
        return [decoded(reply) for reply in pipe.execute(raise_on_error=False)]


def candidates(store: BatchStore) -> set[str]:
    """Return the names of all hashes that may be workflows; looks at every key of the Redis."""
    with own_errors(store.client):
        return set(_candidates(store))


def _candidates(store: BatchStore) -> Iterator[str]:
    for key in store.client.scan_iter(count=_KEYS_AT_ONCE, _type="HASH"):
        name = decoded(key)
        if store.cluster:
            if not (name.startswith("{") and name.endswith("}")):
                continue
            name = name[1:-1]
        if is_workflow_name(name):
            yield name
