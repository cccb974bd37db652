# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Read and write the JSON of a batch's record, with the notes that people have put on the batch."""

from __future__ import annotations

from dataclasses import fields, replace
from operator import attrgetter
from typing import Any

from batchy_provider.core.batch_notes import BatchNote
from batchy_provider.core.dates import parse_date
from batchy_provider.core.typed_data import FormError, build, fits
from batchy_provider.core.values import BatchRecord
from batchy_provider.state.stored_values import read_field

_NOTES = "notes"


def record_field(batch_id: int) -> str:
    """Return the field of ``wf:meta`` that holds the record of a batch."""
    return f"batch:{batch_id}"


def load_record(key: str, batch_id: int, text: str | None) -> BatchRecord | None:
    """Read the record of a batch; None for one that this package did not open."""
    if text is None:
        return None
    return read_field(key, record_field(batch_id), text, read_record)


def read_record(data: Any) -> BatchRecord:
    """Read what `dump_record` returns.

    :raises FormError: if it has another form.
    :raises WindowError: if a date in it cannot be read.
    """
    notes: Any = ()
    if isinstance(data, dict) and _NOTES in data:
        notes = data[_NOTES]
        data = {name: value for name, value in data.items() if name != _NOTES}
    found = build(BatchRecord, data)
    for date in (found.started, found.to_date, found.due):
        if date is not None:
            parse_date(date)
    return replace(found, notes=_read_notes(notes)) if notes else found


def dump_record(record: BatchRecord) -> dict[str, Any]:
    """Return the JSON form that `load_record` reads."""
    plain = as_dict(record)
    del plain[_NOTES]
    return {**plain, _NOTES: [as_dict(note) for note in record.notes]} if record.notes else plain


def _read_notes(data: Any) -> tuple[BatchNote, ...]:
    if not fits(list[dict[str, Any]], data):
        raise FormError("has notes of another form; expected a list of JSON objects")
    notes = tuple(build(BatchNote, each) for each in data)
    for note in notes:
        parse_date(note.at)
    return notes


_fields_of: dict[type, tuple[tuple[str, ...], attrgetter[Any]]] = {}
"""Dataclass → the names of its fields, and what returns all their values."""


def as_dict(instance: Any) -> dict[str, Any]:
    """Return the fields of a flat dataclass as JSON, without those that are None."""
    kind = type(instance)
    if (known := _fields_of.get(kind)) is None:
        names = tuple(each.name for each in fields(kind))
        known = _fields_of[kind] = (names, attrgetter(*names))
    names, values = known
    return {name: value for name, value in zip(names, values(instance), strict=True) if value is not None}
