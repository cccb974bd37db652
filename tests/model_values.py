# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The values of the model of batches: jobs, batches, and what is loaded. They use no code of the package."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

BEGINNING = datetime(1776, 7, 4, 23, 59)
Span = tuple[datetime, datetime]


@dataclass(frozen=True)
class Setting:
    """What a configuration says of a job."""

    reprocess_hours: float | str = 0
    trunc_start: bool = False
    initial_date: datetime | None = None


@dataclass
class Job:
    """A job in the live state."""

    setting: Setting
    status: str = "new"
    start: datetime | None = None
    end: datetime | None = None

    @property
    def position(self) -> datetime:
        """How far it has been loaded, or has been told to count as loaded."""
        if self.status == "success" and self.end is not None:
            return self.end
        return self.start or self.setting.initial_date or BEGINNING

    def next_start(self, zone: str) -> datetime:
        """The first table of "Opening"."""
        start = self.position
        if self.status == "success" and self.end is not None:
            start = self.end - timedelta(hours=float(self.setting.reprocess_hours))
            if self.setting.initial_date is not None:
                start = max(start, min(self.setting.initial_date, self.end))
        if self.setting.trunc_start:
            local = start.replace(tzinfo=timezone.utc).astimezone(ZoneInfo(zone))
            cut = local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
            start = cut.astimezone(timezone.utc).replace(tzinfo=None)
        return start


@dataclass
class Batch:
    """A batch: its windows by job, those that take part."""

    batch_id: int
    kind: str
    spans: dict[str, Span]
    run: str | None
    status: str = "open"
    moved: bool = False


@dataclass
class Loaded:
    """What of a job's data was loaded by live batches, and what was passed over on purpose or by the original."""

    since: datetime
    spans: list[Span] = field(default_factory=list)
    watermark: datetime = datetime.min

    def covers(self, until: datetime) -> bool:
        """Tell whether nothing is missing between the first window's start and a moment."""
        reached = self.since
        for start, end in sorted(self.spans):
            if start > reached:
                break
            reached = max(reached, end)
        return reached >= until


def joined(spans: Iterable[Span]) -> list[Span]:
    """The same moments as spans that neither overlap nor touch."""
    found: list[Span] = []
    for start, end in sorted(spans):
        if start >= end:
            continue
        if found and start <= found[-1][1]:
            start, end = found[-1][0], max(found.pop()[1], end)
        found.append((start, end))
    return found


def before(spans: Iterable[Span], moment: datetime) -> list[Span]:
    """What of the spans lies before a moment."""
    return joined((start, min(end, moment)) for start, end in spans)
