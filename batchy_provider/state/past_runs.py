# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Read the past runs of many workflows: how long their jobs took, and how many of their batches have failed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from batchy_provider.state import codec
from batchy_provider.state.protocol import as_hash

if TYPE_CHECKING:
    from batchy_provider.core.duration_table import DurationTable
    from batchy_provider.state.backend import Backend
    from batchy_provider.state.keys import Keys

_BATCHES = 30
"""Of so many of the latest batches it is counted how many have failed."""


@dataclass(frozen=True, slots=True)
class PastRuns:
    """The past runs of one workflow.

    :param durations: how long its jobs took; None if no successful run is known.
    :param closed: how many of its latest live batches have a record of how they ended.
    :param failed: how many of those have failed.
    """

    durations: DurationTable | None
    closed: int = 0
    failed: int = 0


def read_past(backend: Backend, workflows: Sequence[Keys]) -> dict[str, PastRuns]:
    """Return workflow → its past runs. Takes two requests to each server, for any number of workflows.

    A key of another program counts as no past runs.

    :param workflows: the keys of each.
    """
    from batchy_provider.state.duration_tables import duration_tables

    replies = backend.pipelined(
        [
            command
            for keys in workflows
            for command in (("HGETALL", keys.durations), ("ZREVRANGE", keys.closed, 0, _BATCHES - 1))
        ]
    )
    lists = [as_hash(reply) if isinstance(reply, (list, dict)) else {} for reply in replies[::2]]
    ids = [reply if isinstance(reply, list) else [] for reply in replies[1::2]]
    asked = [(keys, some) for keys, some in zip(workflows, ids, strict=True) if some]
    records = backend.pipelined(
        [("HMGET", keys.meta, *(codec.record_field(each) for each in some)) for keys, some in asked]
    )
    counts = {keys: _count(reply) for (keys, _), reply in zip(asked, records, strict=True)}
    tables = duration_tables(list(zip(workflows, lists, strict=True)))
    return {
        keys.workflow: PastRuns(table, *counts.get(keys, (0, 0))) for keys, table in zip(workflows, tables, strict=True)
    }


def with_past_runs(backend: Backend, workflows: Sequence[Keys]) -> set[str]:
    """Return the workflows of which past runs may be known: of the others, no job has a duration.

    Takes one request to each server. An error, such as of a login that may not ask, says nothing.
    """
    counts = backend.pipelined([("HLEN", keys.durations) for keys in workflows])
    return {keys.workflow for keys, count in zip(workflows, counts, strict=True) if count != 0}


def _count(records: object) -> tuple[int, int]:
    """Return how many records say how a batch has ended, and how many that it has failed."""
    found = [_status(text) for text in records if isinstance(text, str)] if isinstance(records, list) else []
    failed = found.count("failed")
    return found.count("success") + failed, failed


def _status(text: str) -> object:
    try:
        record = json.loads(text)
    except ValueError:
        return None
    return record.get("status") if isinstance(record, dict) else None
