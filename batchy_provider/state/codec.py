# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Read and write the JSON of a workflow's Redis hashes; only this module knows that form."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from batchy_provider.core.alike import for_each, grouped_texts
from batchy_provider.core.dates import format_date, parse_date
from batchy_provider.core.intervals import Interval, Intervals, merge
from batchy_provider.core.ledger import Ledger
from batchy_provider.core.revision import Revision
from batchy_provider.core.snapshot import UNCHANGED, Change, LastSuccess, Owner, StoredConfig
from batchy_provider.core.typed_data import FormError, build, encodable, fits
from batchy_provider.core.values import PersonalChange
from batchy_provider.exceptions import WindowError
from batchy_provider.state.hold_codec import HOLD as HOLD
from batchy_provider.state.hold_codec import dump_hold as dump_hold
from batchy_provider.state.hold_codec import load_hold as load_hold
from batchy_provider.state.holder_codec import LEASE, dump_holder, dump_lease, load_holder
from batchy_provider.state.job_codec import dump as dump
from batchy_provider.state.job_codec import dump_job as dump_job
from batchy_provider.state.job_codec import dump_jobs as dump_jobs
from batchy_provider.state.job_codec import load_jobs as load_jobs
from batchy_provider.state.record_codec import as_dict
from batchy_provider.state.record_codec import dump_record as dump_record
from batchy_provider.state.record_codec import load_record as load_record
from batchy_provider.state.record_codec import read_record as read_record
from batchy_provider.state.record_codec import record_field as record_field
from batchy_provider.state.stored_config import config_form, read_config
from batchy_provider.state.stored_values import decode, read_field

Hash = Mapping[str, str]

CONFIG = "config"
DISABLED = "disabled"
OWNER = "owner"
LAST_SUCCESS = "last_success"
CHANGES = "changes"
REVISION = "archive"
LEDGER = "ledger"
"""Version of the ledger's form; a workflow without it was last changed by an earlier release, or by the original."""
LEDGER_VERSION = 1
RENAME = "rename"
META_FIELDS = (CONFIG, DISABLED, OWNER, LAST_SUCCESS, REVISION, LEDGER, RENAME, LEASE, HOLD)
"""Fields of ``wf:meta`` that every opening and closing reads; `CHANGES` is read with a person's change."""
MAX_CHANGES = 200


@dataclass(frozen=True, slots=True)
class _Owner:
    """JSON form of `Owner`."""

    batch_id: int
    holder: dict[str, Any]
    record: dict[str, Any]


def load_config(key: str, text: str | None) -> StoredConfig:
    """Read the stored part of the configuration."""
    if text is None:
        return StoredConfig()
    try:
        return _config(text)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, WindowError):
        return read_field(key, CONFIG, text, read_config)


@lru_cache(maxsize=256)
def _config(text: str) -> StoredConfig:
    # Workflows that are alike have the same text.
    return read_config(decode(text))


@lru_cache(maxsize=256)
def _read_again(key: str, name: str, text: str, read: Callable[[Any], Any]) -> Any:
    """Read a field whose text stays the same from one reading to the next."""
    return read_field(key, name, text, read)


def dump_config(config: StoredConfig) -> dict[str, Any]:
    """Return the JSON form that `load_config` reads."""
    return config_form(config)


def load_ledger(key: str, stored: Hash) -> Ledger:
    """Read the ledger.

    :param key: its name, for the error.
    :raises StateError: if a field does not hold intervals.
    """
    texts = grouped_texts(stored)
    try:
        return for_each(texts, lambda _, text: _intervals(text))
    except (ValueError, TypeError, RecursionError, WindowError):
        return for_each(texts, lambda job, text: read_field(key, job, text, read_intervals))


@lru_cache(maxsize=256)
def _intervals(text: str) -> Intervals:
    # Nearly all jobs of a workflow have loaded the same.
    return read_intervals(decode(text))


def read_intervals(pairs: Any) -> Intervals:
    """Read what `dump_intervals` returns; raise `FormError` if it is not in normal form."""
    found = tuple([Interval(parse_date(start), parse_date(end)) for start, end in pairs])
    if len(found) == 1 and found[0].start < found[0].end:
        return found
    if merge(found) != found:
        raise FormError("is not in order; expected intervals that neither overlap nor touch")
    return found


def dump_intervals(intervals: Intervals) -> list[list[str]]:
    """Return the JSON form that `load_ledger` reads of one job."""
    return [[format_date(each.start), format_date(each.end)] for each in intervals]


def load_disabled(key: str, text: str | None) -> frozenset[str]:
    """Read the jobs that were switched off at run time."""

    def read(data: Any) -> frozenset[str]:
        if not fits(list[str], data):
            raise FormError("is none; expected a list of jobs")
        return frozenset(encodable(data))

    return frozenset() if text is None else read_field(key, DISABLED, text, read)


def load_owner(key: str, text: str | None) -> Owner | None:
    """Read who opened the latest live batch of this package."""

    def read(data: Any) -> Owner:
        found = build(_Owner, data, parts=("holder", "record"))
        return Owner(found.batch_id, load_holder(found.holder), read_record(found.record))

    return None if text is None else read_field(key, OWNER, text, read)


def dump_owner(owner: Owner, record: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the JSON form that `load_owner` reads.

    :param record: the form of its record, if that is known already.
    """
    return {
        "batch_id": owner.batch_id,
        "holder": dump_holder(owner.holder),
        "record": dump_record(owner.record) if record is None else record,
    }


def load_last_success(key: str, text: str | None) -> LastSuccess | None:
    """Read the last success."""
    return None if text is None else _read_again(key, LAST_SUCCESS, text, _read_last_success)


def _read_last_success(data: Any) -> LastSuccess:
    found = build(LastSuccess, data)
    parse_date(found.to_date)
    return found


def load_revision(key: str, text: str | None) -> Revision | None:
    """Read which revision of the state it is."""

    def read(data: Any) -> Revision:
        found = build(Revision, data)
        if not {"number", "tokens"} <= data.keys():
            raise FormError("lacks a key; expected number and tokens")
        return replace(found, tokens=tuple(found.tokens), pending=tuple(found.pending))

    return None if text is None else read_field(key, REVISION, text, read)


def dump_revision(revision: Revision) -> dict[str, Any]:
    """Return the JSON form that `load_revision` reads."""
    found: dict[str, Any] = {"number": revision.number, "tokens": list(revision.tokens)}
    if revision.pending:
        found["pending"] = list(revision.pending)
    if revision.pruned:
        found["pruned"] = revision.pruned
    if revision.kept is not None:
        found["kept"] = revision.kept
    if revision.writing is not None:
        found["writing"] = revision.writing
    return found


def dump_last_success(last: LastSuccess) -> dict[str, Any]:
    """Return the JSON form that `load_last_success` reads."""
    return as_dict(last)


def dump_changes(changes: Sequence[PersonalChange]) -> list[dict[str, Any]]:
    """Return the JSON form of the newest changes that people made."""
    return [as_dict(change) for change in changes[:MAX_CHANGES]]


def load_changes(key: str, text: str | None) -> list[PersonalChange]:
    """Read what people changed, newest first."""

    def read(data: Any) -> list[PersonalChange]:
        if not isinstance(data, list):
            raise FormError("is none; expected a list of changes")
        return [build(PersonalChange, item) for item in data]

    return [] if text is None else read_field(key, CHANGES, text, read)


def dump_meta(change: Change) -> dict[str, Any]:
    """Return the fields of ``wf:meta`` that a change writes, in their JSON form; None removes a field."""
    found: dict[str, Any] = {}
    records = {batch_id: dump_record(record) for batch_id, record in change.records.items()}
    if change.owner is None:
        found[OWNER] = None
    elif change.owner is not UNCHANGED:
        is_same = change.records.get(change.owner.batch_id) is change.owner.record
        found[OWNER] = dump_owner(change.owner, records[change.owner.batch_id] if is_same else None)
    if change.last_success is not UNCHANGED:
        found[LAST_SUCCESS] = None if change.last_success is None else dump_last_success(change.last_success)
    if change.config is not UNCHANGED:
        found[CONFIG] = None if change.config is None else dump_config(change.config)
    if change.disabled is not UNCHANGED:
        found[DISABLED] = sorted(change.disabled) or None
    if change.revision is not None:
        found[REVISION] = dump_revision(change.revision)
    if change.lease is not UNCHANGED:
        found[LEASE] = None if change.lease is None else dump_lease(change.lease)
    if change.hold is not UNCHANGED:
        found[HOLD] = None if change.hold is None else dump_hold(change.hold)
    if change.audit is not None:
        found[CHANGES] = dump_changes(change.audit)
    return found | {record_field(batch_id): record for batch_id, record in records.items()}
