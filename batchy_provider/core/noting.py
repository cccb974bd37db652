# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Decide on notes: put one on a batch, and acknowledge the failure of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from batchy_provider.core.batch_notes import MAX_NOTES, MAX_TEXT, BatchNote, acknowledgement
from batchy_provider.core.dates import format_date
from batchy_provider.core.presenters import event, unknown_workflow
from batchy_provider.core.snapshot import UNCHANGED, Change, Decision, Owner, Snapshot
from batchy_provider.core.storable_text import text_problem
from batchy_provider.exceptions import ConfigError, NotFailedError, NotRecordedError, UnknownBatchError


def add_note(
    state: Snapshot, batch_id: int, text: str | None, now: datetime, *, by: str, ack: bool = False
) -> Decision[Sequence[BatchNote]]:
    """Put a note on a batch, or acknowledge its failure.

    To acknowledge a failure again without a text changes nothing.

    :param state: with the batch as `state.own`.
    :param text: the note; None only for an acknowledgement.
    :param ack: acknowledge the failure of the batch.
    :returns: all notes of the batch, oldest first.
    :raises UnknownWorkflowError: if Redis does not know the workflow.
    :raises UnknownBatchError: if there is no such batch.
    :raises NotRecordedError: if another program has opened it, so that there is no record to keep notes in.
    :raises NotFailedError: if a failure is to be acknowledged, and the batch has not failed.
    :raises ConfigError: if the text is missing, too long, or cannot be stored, or the batch has too many notes.
    """
    own, name = state.own, state.workflow
    if not state.jobs:
        raise unknown_workflow(name)
    if own is None or not own.jobs:
        raise UnknownBatchError(f"{name}: there is no batch {batch_id}; it may have been pruned")
    checked = _checked_text(text, is_optional=ack)
    if ack and own.status != "failed":
        raise NotFailedError(
            f"{name}: batch {batch_id} has not failed: it is {own.status}. Only a failure can be acknowledged. To "
            f"write something down: `batchy note {name} --batch {batch_id} TEXT`"
        )
    record = own.record
    if record is None:
        raise NotRecordedError(
            f"{name}: another program has opened batch {batch_id}, perhaps the original Batchy server, which keeps no "
            "record that could hold a note"
        )
    if ack and checked is None and acknowledgement(record.notes) is not None:
        return Decision(record.notes)
    if len(record.notes) >= MAX_NOTES:
        raise ConfigError(f"{name}: batch {batch_id} has {len(record.notes)} notes already, and no batch can have more")
    notes = (*record.notes, BatchNote(at=format_date(now), by=by, text=checked, ack=ack))
    noted = replace(record, notes=notes)
    owner = state.owner
    is_latest = owner is not None and owner.batch_id == own.batch_id
    return Decision(
        notes,
        Change(
            records={own.batch_id: noted},
            # The latest batch has its record here too: lists show it without a look at the history.
            owner=Owner(own.batch_id, owner.holder, noted) if owner is not None and is_latest else UNCHANGED,
            event=event(name, own.batch_id, "ack" if ack else "note", record.kind, now),
        ),
    )


def _checked_text(text: str | None, *, is_optional: bool) -> str | None:
    stripped = (text or "").strip()
    if not stripped:
        if is_optional:
            return None
        raise ConfigError("the note has no text; write what others should know of this batch")
    if len(stripped) > MAX_TEXT:
        raise ConfigError(f"the note has {len(stripped)} characters; write at most {MAX_TEXT}")
    if problem := text_problem(stripped, "note"):
        raise ConfigError(problem)
    return stripped
