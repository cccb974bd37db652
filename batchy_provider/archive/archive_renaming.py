# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Move the archive of a workflow to another name.

An archive has no transaction. The old state is marked first, and from then on neither an opening nor a restore uses it.
An interrupted move is repeated as a whole: it writes the same files again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from batchy_provider.archive.archive_files import ArchiveFiles
from batchy_provider.archive.archived_batch import ArchivedBatch
from batchy_provider.archive.archived_state import ArchivedState
from batchy_provider.core.repeated_requests import renamed_run
from batchy_provider.state import codec

_CHUNK = 100


def mark_archive(files: ArchiveFiles, old: str, new: str | None) -> None:
    """Mark the archived state of a workflow as being renamed, or remove the mark.

    :param new: the new name; None removes the mark.
    """
    state = files.latest(old)
    if state is not None and state.renamed_to != new:
        files.put_latest(replace(state, renamed_to=new))


def move_archive(files: ArchiveFiles, old: str, new: str, audit: Sequence[Mapping[str, Any]]) -> None:
    """Move all files of a workflow to another name.

    :param audit: the audit entries of the workflow in Redis, newest first.
    """
    if old not in files.workflows():
        return
    ids = files.batch_ids(old)
    for start in range(0, len(ids), _CHUNK):
        found = files.read_batches(old, ids[start : start + _CHUNK])
        files.put_batches([_renamed_batch(batch, old, new) for batch in found])
    runs, days = files.pruned(old)
    if runs or days:
        files.put_pruned(new, {renamed_run(run, old, new): each for run, each in runs.items()}, days)
    files.put_audit(new, audit)
    state = files.latest(old)
    if state is not None and files.latest(new) is None:  # a batch may have been closed under the new name since
        files.put_latest(_renamed_state(state, old, new))
    files.remove(old)


def _renamed_batch(batch: ArchivedBatch, old: str, new: str) -> ArchivedBatch:
    return replace(batch, workflow=new, record=_renamed_record(batch.record, old, new))


def _renamed_state(state: ArchivedState, old: str, new: str) -> ArchivedState:
    meta, owner = dict(state.meta), state.meta.get(codec.OWNER)
    if owner is not None:
        meta[codec.OWNER] = {**owner, "record": _renamed_record(owner["record"], old, new)}
    return replace(state, workflow=new, meta=meta, renamed_to=None)


def _renamed_record(record: dict[str, Any] | None, old: str, new: str) -> dict[str, Any] | None:
    if record is None or record.get("run") is None:
        return record
    return {**record, "run": renamed_run(record["run"], old, new)}
