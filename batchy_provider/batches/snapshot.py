# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""What is stored of a workflow, read once and checked, and the change that a rule makes of it."""

from __future__ import annotations

import json
import json.encoder
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, Generic, TypeVar

from batchy_provider.batches.dates import parse_date, zone
from batchy_provider.batches.mark import Mark
from batchy_provider.batches.model import BatchRecord, Fields, Holder, PersonalChange, Status, WorkflowConfig
from batchy_provider.batches.state_checks import check_job_name, damaged, load_json, read_field
from batchy_provider.batches.statuses import overall_status, status_of
from batchy_provider.batches.typed import FormError, build, fits

Hash = Mapping[str, str]

CONFIG = "config"
DISABLED = "disabled"
OWNER = "owner"
LAST_SUCCESS = "last_success"
CHANGES = "changes"
MARK = "archive"
META_FIELDS = (CONFIG, DISABLED, OWNER, LAST_SUCCESS, MARK)
"""Fields of ``wf:meta`` that every opening and closing reads; `CHANGES` is read with a person's change."""
MAX_CHANGES = 200


def _encoder() -> Callable[[Any], str]:
    """Return what `json.dumps` does, without making its C encoder anew for each of a hundred jobs."""
    make = getattr(json.encoder, "c_make_encoder", None)
    if make is None:
        return json.JSONEncoder().encode
    parts = make(None, None, json.encoder.encode_basestring_ascii, None, ": ", ", ", False, False, True)
    return lambda value: "".join(parts(value, 0))


_encode = _encoder()
_decode = json.JSONDecoder().decode


def record_field(batch_id: int) -> str:
    """Return the field of ``wf:meta`` that holds the record of a batch."""
    return f"batch:{batch_id}"


@dataclass(frozen=True, slots=True)
class LastSuccess:
    """The last successful live batch, or where a person moved the watermark since.

    :param batch_id: the batch; 0 when a person moved the watermark.
    :param to_date: the watermark.
    """

    batch_id: int
    to_date: str


@dataclass(frozen=True, slots=True)
class StoredConfig:
    """What ``wf:meta`` remembers of the configuration, for callers that come without it."""

    timezone: str = "UTC"
    order: tuple[str, ...] = ()
    disabled: frozenset[str] = frozenset()
    infa: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, config: WorkflowConfig) -> StoredConfig:
        """Return what is to be remembered of a configuration."""
        return cls(config.timezone, tuple(config.jobs), config.disabled, dict(config.infa))


@dataclass(frozen=True, slots=True)
class _Config:
    """JSON form of `StoredConfig`."""

    timezone: str
    order: list[str]
    disabled: list[str]
    infa: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Owner:
    """JSON form of `Owner`."""

    batch_id: int
    holder: dict[str, Any]
    record: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Owner:
    """Who opened the latest live batch that this package knows of, and its record."""

    batch_id: int
    holder: Holder
    record: BatchRecord


@dataclass(frozen=True, slots=True)
class StoredBatch:
    """One batch as history holds it."""

    batch_id: int
    jobs: dict[str, Fields]
    record: BatchRecord | None

    @property
    def is_open(self) -> bool:
        """Tell whether it was never closed nor taken over."""
        return self.status == "open"

    @property
    def status(self) -> Status:
        """What the batch as a whole is."""
        if self.record is not None and self.record.status != "open":
            # As this package closed it; the original may have closed single jobs of it before, otherwise.
            return self.record.status
        return overall_status(self.jobs, self.record)


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The stored state of a workflow at one moment, as the rules take it.

    :param jobs: the live hash, in the configuration's order where that is known.
    :param last_id: the highest batch id that history knows; 0 if none.
    :param own: what the run that asks opened before, or the batch that is asked for.
    :param owner: who opened the latest live batch of this package; the original server may have opened since.
    :param overtaken: the batch `owner` speaks of, where that is so and it was not closed by this package.
    :param mark: which version this is, for the archive; None where none was ever kept.
    """

    workflow: str
    jobs: dict[str, Fields] = field(default_factory=dict)
    config: StoredConfig = field(default_factory=StoredConfig)
    disabled: frozenset[str] = frozenset()
    owner: Owner | None = None
    last_success: LastSuccess | None = None
    last_id: int = 0
    own: StoredBatch | None = None
    overtaken: StoredBatch | None = None
    mark: Mark | None = None

    @cached_property
    def overtaken_id(self) -> int | None:
        """The id of the batch that `overtaken` is to be."""
        owner = self.owner
        is_so = owner is not None and owner.record.status == "open" and owner.batch_id != self.live_id
        return owner.batch_id if owner is not None and is_so else None

    @cached_property
    def live_id(self) -> int | None:
        """The id of the latest live batch; None before the first one."""
        ids = [i for i in (job.get("batch_id") for job in self.jobs.values()) if type(i) is int]
        return max(ids, default=None)

    @cached_property
    def live_record(self) -> BatchRecord | None:
        """The record of the live batch; None if this package did not open it."""
        return self.owner.record if self.owner is not None and self.owner.batch_id == self.live_id else None

    @cached_property
    def holder(self) -> Holder:
        """Who opened the live batch; nobody known if the original server did."""
        if self.owner is not None and self.owner.batch_id == self.live_id:
            return self.owner.holder
        return Holder(token="")  # nosec B106  # of nobody

    @cached_property
    def is_open(self) -> bool:
        """Tell whether the live batch is open."""
        if any(status_of(self.workflow, name, job) == "open" for name, job in self.jobs.items()):
            return True
        # A batch whose every job is switched off has nothing that says "open" but its record.
        record = self.live_record
        return (
            record is not None
            and record.status == "open"
            and all(job.get("outcome") == "skipped" for job in self.jobs.values())
        )

    @cached_property
    def status(self) -> Status:
        """What the live batch as a whole is."""
        return "open" if self.is_open else overall_status(self.jobs, self.live_record)


@dataclass(slots=True)
class Change:
    """What a rule wants written; the store commits all of it in one transaction.

    :param live: the new live hash, whole; None leaves it.
    :param batches: batch id → its new hash, whole.
    :param meta: fields of ``wf:meta`` to set (as JSON) or, where None, to remove.
    :param runs: run key → batch id.
    :param closed: batch id → ``batch_end`` in Unix seconds.
    :param days: ISO day → batch id.
    :param history: batch ids to list.
    :param event: what to tell on the channel.
    """

    live: dict[str, Fields] | None = None
    batches: dict[int, dict[str, Fields]] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)
    runs: dict[str, int] = field(default_factory=dict)
    closed: dict[int, float] = field(default_factory=dict)
    days: dict[str, int] = field(default_factory=dict)
    history: list[int] = field(default_factory=list)
    event: dict[str, Any] | None = None


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Decision(Generic[T]):
    """What a rule decided: the answer, and the change to commit; no change is a decision too."""

    result: T
    change: Change | None = None


def dump(value: Any) -> str:
    """Write JSON as the original server can read it: ASCII, in the given order."""
    return _encode(value)


def load_jobs(key: str, stored: Hash, order: tuple[str, ...] = ()) -> dict[str, Fields]:
    """Read a live or history hash.

    :param key: its name, for the error.
    :param order: names of jobs that come first, as far as they are there.
    :raises StateError: if a field does not hold a JSON object.
    """
    names = [name for name in order if name in stored]
    names += sorted(stored.keys() - set(names)) if order else list(stored)
    try:
        # All at once takes half the time of one by one, which is for finding the one that is wrong.
        jobs = _decode("[" + ",".join([stored[name] for name in names]) + "]")
    except (ValueError, RecursionError):
        jobs = []
    if len(jobs) != len(names) or not all(type(job) is dict for job in jobs):
        jobs = [_load_job(key, name, stored[name]) for name in names]
    for name in names:
        check_job_name(key, name)
    return dict(zip(names, jobs, strict=True))


def _load_job(key: str, name: str, text: str) -> Fields:
    job = load_json(key, name, text)
    if not isinstance(job, dict):
        raise damaged(key, name, f"holds {type(job).__name__}")
    return job


def load_config(key: str, text: str | None) -> StoredConfig:
    """Read what is remembered of the configuration."""

    def read(data: Any) -> StoredConfig:
        found = build(_Config, data)
        zone(found.timezone)
        return StoredConfig(found.timezone, tuple(found.order), frozenset(found.disabled), found.infa)

    return StoredConfig() if text is None else read_field(key, CONFIG, text, read)


def dump_config(config: StoredConfig) -> dict[str, Any]:
    """Return the JSON form that `load_config` reads."""
    return {
        "timezone": config.timezone,
        "order": list(config.order),
        "disabled": sorted(config.disabled),
        "infa": dict(config.infa),
    }


def load_disabled(key: str, text: str | None) -> frozenset[str]:
    """Read the jobs that were switched off at run time."""

    def read(data: Any) -> frozenset[str]:
        if not fits(list[str], data):
            raise FormError("is none; expected a list of jobs")
        return frozenset(data)

    return frozenset() if text is None else read_field(key, DISABLED, text, read)


def load_owner(key: str, text: str | None) -> Owner | None:
    """Read who opened the latest live batch of this package."""

    def read(data: Any) -> Owner:
        found = build(_Owner, data)
        return Owner(found.batch_id, build(Holder, found.holder), _record(found.record))

    return None if text is None else read_field(key, OWNER, text, read)


def dump_owner(owner: Owner) -> dict[str, Any]:
    """Return the JSON form that `load_owner` reads."""
    return {
        "batch_id": owner.batch_id,
        "holder": _as_dict(owner.holder),
        "record": _as_dict(owner.record),
    }


def load_last_success(key: str, text: str | None) -> LastSuccess | None:
    """Read the last success."""

    def read(data: Any) -> LastSuccess:
        found = build(LastSuccess, data)
        parse_date(found.to_date)
        return found

    return None if text is None else read_field(key, LAST_SUCCESS, text, read)


def load_mark(key: str, text: str | None) -> Mark | None:
    """Read which version of the state it is."""
    return None if text is None else read_field(key, MARK, text, Mark.read)


def load_record(key: str, batch_id: int, text: str | None) -> BatchRecord | None:
    """Read the record of a batch; None for one that this package did not open."""
    if text is None:
        return None
    return read_field(key, record_field(batch_id), text, _record)


def _record(data: Any) -> BatchRecord:
    found = build(BatchRecord, data)
    for date in (found.started, found.to_date):
        parse_date(date)
    return found


def dump_record(record: BatchRecord) -> dict[str, Any]:
    """Return the JSON form that `load_record` reads."""
    return _as_dict(record)


def dump_last_success(last: LastSuccess) -> dict[str, Any]:
    """Return the JSON form that `load_last_success` reads."""
    return _as_dict(last)


def dump_changes(changes: Sequence[PersonalChange]) -> list[dict[str, Any]]:
    """Return the JSON form of the newest changes that people made."""
    return [_as_dict(change) for change in changes[:MAX_CHANGES]]


def load_changes(key: str, text: str | None) -> list[PersonalChange]:
    """Read what people changed, newest first."""

    def read(data: Any) -> list[PersonalChange]:
        if not isinstance(data, list):
            raise FormError("is none; expected a list of changes")
        return [build(PersonalChange, item) for item in data]

    return [] if text is None else read_field(key, CHANGES, text, read)


def _as_dict(instance: Any) -> dict[str, Any]:
    pairs = ((f.name, getattr(instance, f.name)) for f in fields(instance))
    return {name: value for name, value in pairs if value is not None}
