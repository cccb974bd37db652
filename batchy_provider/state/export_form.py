# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The JSON form of an exported workflow, and its values after a check. Values are those of Redis, unchanged."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from batchy_provider.core.dates import format_date
from batchy_provider.core.snapshot import Snapshot, StoredBatch
from batchy_provider.core.values import JobDuration
from batchy_provider.state import codec
from batchy_provider.state.duration_lists import load_durations
from batchy_provider.state.stored_values import load_json
from batchy_provider.state.whole_workflow import WholeWorkflow

FORMAT = "batchy export"
VERSION = 1
META: dict[str, Callable[[str, str | None], Any]] = {
    codec.CONFIG: codec.load_config,
    codec.DISABLED: codec.load_disabled,
    codec.HOLD: codec.load_hold,
    codec.OWNER: codec.load_owner,
    codec.LAST_SUCCESS: codec.load_last_success,
    codec.CHANGES: codec.load_changes,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedBatch:
    """A batch of a document.

    :param record: as in JSON; None for a batch of the original server.
    :param closed: its score in ``wf:closed``, Unix seconds; None for a history batch.
    :param listed: its score in ``wf:history``; None for its id.
    """

    stored: StoredBatch
    record: dict[str, Any] | None = None
    closed: float | None = None
    listed: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedWorkflow:
    """A workflow of a document, after all its values were checked.

    :param meta: fields of ``wf:meta``, as in JSON.
    :param ledger: as in JSON.
    :param durations: job → how long its latest executions took, oldest first.
    :param runs: run key → batch id.
    """

    state: Snapshot
    meta: Mapping[str, Any] = field(default_factory=dict)
    ledger: Mapping[str, Any] = field(default_factory=dict)
    durations: Mapping[str, Sequence[JobDuration]] = field(default_factory=dict)
    runs: Mapping[str, int] = field(default_factory=dict)
    batches: tuple[ImportedBatch, ...] = ()

    @property
    def name(self) -> str:
        """The name of the workflow."""
        return self.state.workflow


def export_data(whole: WholeWorkflow, *, history: bool) -> dict[str, Any]:
    """Return a workflow as the document holds it.

    :param history: with all batches. Without it, only the latest batch and the last success are in it: the state is
        not complete without them.
    """
    keys, state = whole.keys, whole.state
    live, meta = whole.part(keys.live), whole.part(keys.meta)
    closed, listed = whole.part(keys.closed), whole.part(keys.history)
    last = state.last_success
    needed = {state.live_id, None if last is None else last.batch_id}
    ids = sorted(each for each in whole.batch_ids if history or each in needed)
    hashes = {each: whole.part(keys.batch(each)) for each in ids}
    runs = {run: int(each) for run, each in whole.part(keys.runs).items()}
    return {
        "workflow": keys.workflow,
        **{name: load_json(keys.meta, name, meta[name]) if name in meta else None for name in META},
        "jobs": {name: load_json(keys.live, name, live[name]) for name in state.jobs},
        "ledger": {job: codec.dump_intervals(found) for job, found in state.ledger.items()},
        "durations": {
            job: [[format_date(each.start), each.seconds, each.window_seconds] for each in some]
            for job, some in load_durations(keys, whole.part(keys.durations)).items()
        },
        "runs": runs if history else {run: each for run, each in runs.items() if each in ids},
        "batches": [
            {
                "batch_id": each,
                "closed": float(closed[str(each)]) if str(each) in closed else None,
                "listed": float(listed.get(str(each), each)),
                "record": load_json(keys.meta, codec.record_field(each), text)
                if (text := meta.get(codec.record_field(each))) is not None
                else None,
                "jobs": {name: load_json(keys.batch(each), name, text) for name, text in hashes[each].items()},
            }
            for each in ids
            if hashes[each]
        ],
    }
