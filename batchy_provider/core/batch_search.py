# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Search the batches of many workflows: which batches match, and in which order they are listed."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

from batchy_provider.core.batch_notes import acknowledgement
from batchy_provider.core.dates import format_date, parse_date
from batchy_provider.core.values import Batch
from batchy_provider.core.vocabulary import Kind, Status
from batchy_provider.exceptions import WindowError

_DIGITS_OF_ID = 9


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """The place of a batch in a list of the batches of many workflows, newest first.

    The place of a batch never changes. So a list that goes on below a place has no batch twice, and leaves none out,
    while new batches open at its top.

    :param started: when the batch was opened, naive UTC.
    """

    started: datetime
    batch_id: int
    workflow: str

    def __str__(self) -> str:
        return f"{format_date(self.started)},{self.batch_id},{self.workflow}"

    @classmethod
    def read(cls, text: str) -> Place:
        """Read what `str` returns.

        :raises WindowError: it is no such text.
        """
        parts = text.split(",", 2)
        if len(parts) != 3 or not (parts[1].isascii() and parts[1].isdecimal() and len(parts[1]) <= 16):
            raise WindowError(f"{text!r} is no place in a list of batches; give the `next` of the page before")
        return cls(parse_date(parts[0]), int(parts[1]), parts[2])


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSearch:
    """A search for batches. Each condition that is given must hold.

    :param start: only batches that ended at this moment (naive UTC) or later, or have not ended.
    :param end: only batches that were opened before this moment (naive UTC).
    :param job: only batches in which this job took part; together with the status ``success`` or ``failed``, only
        those in which the job ended so.
    :param acknowledged: only failed batches whose failure is acknowledged (True), or is not (False).
    :param text: a part of the batch id, of the run id or of the workflow's name, in any case.
    """

    start: datetime | None = None
    end: datetime | None = None
    status: Status | None = None
    kind: Kind | None = None
    job: str | None = None
    acknowledged: bool | None = None
    text: str | None = None
    _text: str = field(init=False, default="")
    _is_id: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_text", (self.text or "").strip().casefold())
        object.__setattr__(self, "_is_id", _is_id(self._text))

    @property
    def is_rare(self) -> bool:
        """Tell whether few batches match, so that all must be looked at."""
        return bool(self._text or self.acknowledged)

    @property
    def least_end(self) -> datetime:
        """Only batches that ended at this moment or later match."""
        return self.start or datetime.min

    def may_be(self, batch_id: int) -> bool:
        """Tell whether a batch may match, by its id alone: a long number is looked for among the ids of batches."""
        return not self._is_id or self._text in str(batch_id)

    def may_match_record(self, batch_id: int, workflow: str, record: str) -> bool:
        """Tell whether a batch may match, by the JSON of its record before it is read, which takes long.

        :param record: has the words of its values as they are.
        """
        if self.status in ("success", "failed") and f'"{self.status}"' not in record and '"open"' not in record:
            return False
        if self.acknowledged and '"ack"' not in record:
            return False
        text = self._text
        if not text or not text.isascii() or text in str(batch_id) or text in workflow.casefold():
            return True
        return json_text(text) in record.casefold()

    def may_match(
        self,
        place: Place,
        *,
        status: Status | None,
        kind: Kind,
        run: str | None,
        is_acknowledged: bool,
    ) -> bool:
        """Tell whether a batch may match, by what its record alone says; a batch that does not match is not read.

        :param status: None if only the jobs of the batch can tell.
        """
        if self.end is not None and place.started >= self.end:
            return False
        if self.kind is not None and kind != self.kind:
            return False
        if status is not None and not self._is_wanted(status, is_acknowledged=is_acknowledged):
            return False
        return not self._text or any(
            self._text in each.casefold() for each in (str(place.batch_id), run or "", place.workflow)
        )

    def needs_jobs(self, place: Place, status: Status | None) -> bool:
        """Tell whether the jobs of a batch decide whether it matches."""
        return status is None or self.job is not None or place.started < self.least_end

    def matches(self, batch: Batch) -> bool:
        """Tell whether a batch matches that may match; it was read with its jobs."""
        notes = batch.record.notes if batch.record is not None else ()
        if not self._is_wanted(batch.status, is_acknowledged=acknowledgement(notes) is not None):
            return False
        if self.start is not None and batch.status != "open" and _ended(batch) < self.start:
            return False
        return self.job is None or self._job_matches(batch)

    def _is_wanted(self, status: Status, *, is_acknowledged: bool) -> bool:
        if self.status is not None and status != self.status:
            return False
        return self.acknowledged is None or (status == "failed" and is_acknowledged is self.acknowledged)

    def _job_matches(self, batch: Batch) -> bool:
        fields = batch.jobs.get(self.job or "")
        if fields is None or self.job in batch.left_out:
            return False
        return self.status not in ("success", "failed") or outcome_of(fields) == self.status


def json_text(text: str) -> str:
    """Return an ASCII text as it stands within a text of JSON."""
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) >= _DIGITS_OF_ID


def outcome_of(fields: Mapping[str, object]) -> str:
    """Return how a job ended in a batch, or the status of the batch where the outcome of the job is not known."""
    found = str(fields.get("outcome") or fields.get("status") or "new")
    return "failed" if found == "failure" else found


def _ended(batch: Batch) -> datetime:
    """Return when a closed batch ended, as far as its jobs say; one that says nothing ended when it was opened."""
    for text in (batch.batch_end, batch.started):
        if text is not None:
            with suppress(WindowError):  # another program's
                return parse_date(text)
    return datetime.min
