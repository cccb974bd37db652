# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""One job of a batch as a value: the user's params, its settings, and how far it is loaded.

Redis and the archive hold a job as one flat JSON object, in which the special fields stand among the user's params. The
original server reads and writes the same objects. This module alone takes them apart, and alone makes new ones.

`JobState` keeps the object as it is, with the order of its fields and with nulls, and gives it types when a field is
asked for. So a job that another program wrote is written back unchanged, and a person can correct a value that cannot
be read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from batchy_provider.core.alike import Grouped, for_each, grouped, regrouped
from batchy_provider.core.vocabulary import Outcome, Result, Status

Fields = dict[str, Any]
"""JSON object of one job as stored: the user's params and the special fields, flat."""

DATE_FIELDS = ("from_date", "to_date", "batch_start", "batch_end")
"""Special fields that hold a date, ISO 8601 UTC, or null."""
STATE_FIELDS = ("batch_id", "status", *DATE_FIELDS, "outcome")
"""Special fields that opening and closing write."""
SETTING_FIELDS = ("reprocess_hours", "trunc_start")
"""Special fields that the configuration gives and the rules read."""
INITIAL_DATE = "initial_date"
"""A param that the rules read too: where the first window starts."""

STATES = (STATE_FIELDS[:-1], STATE_FIELDS)
"""The state fields of a job that was in a batch, in order: without ``outcome`` while the batch is open."""

STATE_NAMES = frozenset(STATE_FIELDS)
_SPECIAL = frozenset((*STATE_FIELDS, *SETTING_FIELDS))
_STATUSES: dict[object, Status] = {
    None: "new",
    "new": "new",
    "open": "open",
    "success": "success",
    "failed": "failed",
    "failure": "failed",  # as the original server writes it
}


class JobState:
    """One job in one batch, or before its first batch. A value: nothing changes it.

    As this package writes jobs, their state fields come last, and many jobs of a batch have the same ones. Such a job
    is held in two parts, so that the second one is made, read and written once for all of them. It makes no difference
    to rules.

    :param fields: its JSON object. Read the typed attributes instead; only what writes JSON takes this whole.
    """

    __slots__ = ("_fields", "given", "state", "written")

    def __init__(self, fields: Fields) -> None:
        self._fields: Fields | None = fields
        self.given: Fields | None = None
        self.state: Fields | None = None
        self.written: str | None = None

    @classmethod
    def of_parts(cls, given: Fields, state: Fields, written: str | None = None) -> JobState:
        """Return a job of its two parts.

        :param given: params and settings; no state fields.
        :param state: the state fields of a job that was in a batch, in the order of `STATE_FIELDS`. Jobs can share it.
        :param written: how `given` stands in Redis, for what writes it there again; None if it does not.
        """
        job = cls.__new__(cls)
        job._fields, job.given, job.state, job.written = None, given, state, written
        return job

    @classmethod
    def new(cls, given: Mapping[str, Any]) -> JobState:
        """Return a job as its configuration gives it; without a status there, it is ``new``."""
        return cls({**given, "status": given.get("status") or "new"})

    @property
    def fields(self) -> Fields:
        """Its JSON object."""
        found = self._fields
        if found is None:
            found = self._fields = self.copied_fields()
        return found

    def copied_fields(self) -> Fields:
        """Return its JSON object as an object of the caller's own."""
        if self.given is not None and self.state is not None:
            return {**self.given, **self.state}
        return dict(self._fields or {})

    def __eq__(self, other: object) -> bool:
        return self.fields == other.fields if isinstance(other, JobState) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # as all values that hold objects of JSON

    def __repr__(self) -> str:
        return f"JobState({self.fields!r})"

    # -- what it holds -----------------------------------------------------------------------------------

    @property
    def batch_id(self) -> int | None:
        """The latest batch that it was in; None before the first one, or if the stored value is not a number."""
        value = self._of_state("batch_id")
        return value if type(value) is int else None

    @property
    def batch_name(self) -> str:
        """The same as text. Another program may have written the number as text."""
        return str(self._of_state("batch_id"))

    @property
    def status(self) -> Status | None:
        """Its status; a missing one counts as ``new``. None if neither system writes the stored value."""
        value = self._of_state("status")
        try:
            return _STATUSES.get(value)
        except TypeError:  # a list or an object, which another program wrote
            return None

    @property
    def stored_status(self) -> object:
        """Its status as it stands in Redis, whatever that is."""
        return self._of_state("status")

    @property
    def outcome(self) -> object:
        """An `Outcome`, or what another program wrote there; None while the batch is open."""
        return self._of_state("outcome")

    @property
    def from_date(self) -> str | None:
        """Start of its window, inclusive."""
        return self._text("from_date")

    @property
    def to_date(self) -> str | None:
        """End of its window, exclusive, as the window was opened; see `loaded_to` for how far its data goes."""
        return self._text("to_date")

    @property
    def has_no_start(self) -> bool:
        """Whether nothing says where its window starts: it has never been in a batch. An invalid date does say."""
        return self._of_state("from_date") is None

    @property
    def loaded_to(self) -> str | None:
        """End of its window, exclusive; see `loaded_to`."""
        return loaded_to(self.fields if self.state is None else self.state)

    @property
    def is_empty(self) -> bool:
        """Whether its window is known and has nothing in it."""
        return self.from_date is not None and self.from_date == self.loaded_to

    @property
    def batch_start(self) -> str | None:
        """End of its window, in the field that the original server reads too."""
        return self._text("batch_start")

    @property
    def batch_end(self) -> str | None:
        """When its batch was closed; None while it is open."""
        return self._text("batch_end")

    @property
    def params(self) -> dict[str, Any]:
        """The user's params: all that is not special, in the given order. `INITIAL_DATE` is one of them."""
        fields = self.fields if self.given is None else self.given
        return {name: value for name, value in fields.items() if name not in _SPECIAL}

    def _text(self, name: str) -> str | None:
        value = self._of_state(name)
        return value if isinstance(value, str) else None

    def _of_state(self, name: str) -> Any:
        return (self.fields if self.state is None else self.state).get(name)

    # -- what becomes of it ------------------------------------------------------------------------------

    def configured(self, given: Mapping[str, Any]) -> JobState:
        """Return it with params and settings from the configuration; its own state stays."""
        if not STATE_NAMES.isdisjoint(given):
            given = {name: value for name, value in given.items() if name not in STATE_NAMES}
        state = self.state
        if state is None:
            own = self.fields
            state = {name: own[name] for name in STATE_FIELDS if name in own}
            if tuple(state) not in STATES:
                return JobState({**given, **state})
        return JobState.of_parts(dict(given), state)

    def opened(self, state: Fields) -> JobState:
        """Return it in a new batch.

        :param state: see `opened_state`. Jobs with the same window share it.
        """
        if self.given is not None:
            return JobState.of_parts(self.given, state, self.written)
        opened = self.fields | state
        opened.pop("outcome", None)
        return JobState(opened)

    def left_out(self, batch_id: int, status: Status) -> JobState:
        """Return it in a new batch that it takes no part in: it names the batch, and its own window stays."""
        return self._with(batch_id=batch_id, status=status, outcome="skipped")

    def skipped(self, end: str) -> JobState:
        """Return it after it was taken out of its open batch at `end`; its window stays."""
        return self._with(status="new", outcome="skipped", batch_end=end)

    def closed(
        self, result: Result, outcome: Outcome, end: str, known: dict[tuple[int, str], Fields] | None = None
    ) -> JobState:
        """Return it after its batch was closed at `end`.

        :param known: what the state fields of other jobs of the batch became. It grows. Jobs with the same share it.
        """
        if self.given is None or self.state is None or known is None:
            return self._with(status=result, batch_end=end, outcome=outcome)
        key = (id(self.state), outcome)
        if key not in known:
            known[key] = self.state | {"status": result, "batch_end": end, "outcome": outcome}
        return JobState.of_parts(self.given, known[key], self.written)

    def aborted(self, end: str) -> JobState:
        """Return it after its batch was ended without a result at `end`; a job that is not open stays as it is."""
        return self._with(status="failed", batch_end=end, outcome="aborted") if self.status == "open" else self

    def has_loaded(self, start: str, end: str) -> JobState:
        """Return it as after a success with this window, of whose batch no more is known."""
        return self._with(status="success", from_date=start, to_date=end, batch_start=end)

    def without_window(self) -> JobState:
        """Return it without a window of its own."""
        return JobState({name: value for name, value in self.fields.items() if name not in DATE_FIELDS})

    def starts_at(self, start: str) -> JobState:
        """Return it with a next window that starts at `start`."""
        return self._with(status="new", from_date=start)

    def _with(self, **changes: Any) -> JobState:
        if self.given is not None and self.state is not None:
            return JobState.of_parts(self.given, self.state | changes, self.written)
        return JobState(self.fields | changes)


def loaded_to(fields: Fields) -> str | None:
    """Return the end of the window of a job (exclusive), of which these are the fields.

    This is ``batch_start``: the original server opens the next batch without a change of our ``to_date``.
    """
    start, end = fields.get("batch_start"), fields.get("to_date")
    if isinstance(start, str) and start:
        return start
    return end if isinstance(end, str) else None


def opened_state(batch_id: int, start: str, end: str) -> Fields:
    """Return the state fields of a job in a new batch.

    :param start: start of the window (inclusive), ISO 8601 UTC.
    :param end: end of the window (exclusive).
    """
    return {
        "batch_id": batch_id,
        "status": "open",
        "from_date": start,
        "to_date": end,
        "batch_start": end,
        "batch_end": None,
    }


def by_state(jobs: Mapping[str, JobState]) -> Grouped[JobState]:
    """Return jobs in groups of those with the same state fields, for what depends on these alone.

    Jobs of one batch have few different states, also where each has params of its own.
    """
    return regrouped(grouped(jobs), _identity_of_state)


def _identity_of_state(job: JobState) -> int:
    return id(job if job.state is None else job.state)


def job_states(jobs: Mapping[str, Fields]) -> dict[str, JobState]:
    """Return jobs as values; the inverse of `as_fields`."""
    return {name: JobState(fields) for name, fields in jobs.items()}


def as_fields(jobs: Mapping[str, JobState]) -> dict[str, Fields]:
    """Return jobs as JSON objects; the inverse of `job_states`. Jobs that share one value get an object each."""
    fields = for_each(jobs, lambda _, job: job.copied_fields())
    return {name: each.copy() for name, each in fields.items()}
