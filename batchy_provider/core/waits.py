# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""A wait as data: which workflow and which scope it is for, and the verdict: done, failed or not yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from batchy_provider.core.dates import day_bounds, day_of, parse_date
from batchy_provider.core.typed_data import encodable
from batchy_provider.core.values import BatchRecord
from batchy_provider.core.vocabulary import SCOPES, Reason, Scope, VerdictCode, WaitObstacle, WaitState
from batchy_provider.core.wait_intervals import Shortfall
from batchy_provider.exceptions import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """What is waited for.

    :param workflow: whose batch.
    :param jobs: only these jobs; all that are switched on if empty.
    :param scope: which success counts: ``today`` (since `day` began), ``within`` the last `within_seconds`,
        ``since_last_run`` (after `since`), or ``any``. With ``due`` no single success counts, but that the ledger has
        everything up to the last due time of `workflow` at `due` or before it.
    :param day: ISO day of the run that waits; yesterday's success does not count for ``today``. With ``due`` it stands
        for a workflow whose schedule is not known; None for the day of `due`.
    :param timezone: IANA name of the timezone that `day` is read in.
    :param backfill: ask the ledger instead whether the data of `day` is loaded, by whichever batch, unless any
        success will do.
    :param due: when the run that waits was due, ISO 8601, UTC: it needs no data that was due later. Scope ``due`` needs
        it; for a backfill with another scope, None is the end of `day`.
    :param within_seconds: for ``within``; more than 0.
    :param since: ISO 8601, UTC, for ``since_last_run``; None if the one that waits never succeeded.
    :param fail_on_failed: a failed batch ends the wait, too.
    :param same_day: for ``today``: only a success before `day` ended counts, and the wait has failed when it is over.
    """

    workflow: str
    jobs: Sequence[str] = ()
    scope: Scope = "today"
    day: str | None = None
    timezone: str = "UTC"
    backfill: bool = False
    due: str | None = None
    within_seconds: float | None = None
    since: str | None = None
    fail_on_failed: bool = False
    same_day: bool = False

    def __post_init__(self) -> None:
        """Refuse a wait that could never be answered."""
        object.__setattr__(self, "jobs", tuple(self.jobs))  # it may come from JSON
        if self.scope not in SCOPES:
            raise ConfigError(f"{self.workflow}: there is no scope {self.scope!r}; use one of {', '.join(SCOPES)}")
        if self.scope == "within" and (self.within_seconds is None or self.within_seconds <= 0):
            raise ConfigError(f"{self.workflow}: scope within needs a duration of more than 0, for example 12h")
        if self.scope == "due" and self.due is None:
            raise ConfigError(f"{self.workflow}: scope due needs the time at which the run that waits was due")
        if self.scope == "due" and self.day is None and self.due is not None:
            object.__setattr__(self, "day", day_of(parse_date(self.due), self.timezone))
        if (self.scope == "today" or self.backfill) and self.day is None:
            raise ConfigError(f"{self.workflow}: scope {self.scope} needs a day")
        if self.same_day and self.scope != "today":
            raise ConfigError(f"{self.workflow}: same_day goes with scope today, not {self.scope}")

    def __str__(self) -> str:
        """Say what is waited for, in one sentence for people."""
        jobs = f"job {', '.join(self.jobs)}" if self.jobs else "every enabled job"
        failing = ", or until it has failed" if self.fail_on_failed else ""
        if self.backfill and self.scope != "any":
            return f"{self.workflow}: waiting until {jobs} has loaded the data of {self.day}"
        if self.scope == "due":
            return f"{self.workflow}: waiting until {jobs} has loaded all that was due at {self.due} UTC{failing}"
        counts = {
            "today": f" on {self.day}{'' if self.same_day else ' or later'} ({self.timezone})",
            "within": f" in the last {self.within_seconds:g} s" if self.within_seconds else "",
            "since_last_run": f" since {self.since} UTC" if self.since else "",
            "any": "",
        }[self.scope]
        return f"{self.workflow}: waiting until {jobs} has succeeded{counts}{failing}"

    @property
    def asks_ledger(self) -> bool:
        """Tell whether the ledger decides, and not a single success."""
        return self.scope == "due" or (self.backfill and self.scope != "any")

    def is_for_earlier_day(self, record: BatchRecord | None, timezone: str) -> bool:
        """Tell whether a batch is the re-run of a run of an earlier day, so that it does not count for ``today``.

        A person who clears last night's failed run after midnight does not end the waits for tonight's run.

        :param record: of the batch; None if the original server opened it.
        :param timezone: IANA name of the timezone of the workflow that is waited for.
        """
        if self.scope != "today" or self.day is None or record is None or record.run is None:
            return False
        if record.reason_code not in (Reason.RERUN.value, Reason.RERUN_HISTORY.value):
            return False
        start = day_bounds(self.day, self.timezone)[0]
        if record.due is None:  # older versions recorded the day only
            return day_bounds(record.day, timezone)[1] <= start
        return parse_date(record.due) < start

    def is_part_of_run(self, record: BatchRecord | None) -> bool:
        """Tell whether a success is that of a slice after which more follow, so that it does not count for ``today``.

        The run of the day is done when its last slice is.
        """
        return self.scope == "today" and record is not None and record.more is True

    def counts(self, record: BatchRecord | None, timezone: str) -> bool:
        """Tell whether the success of a batch counts, whenever it was; see `is_for_earlier_day` for the parameters."""
        return not (self.is_part_of_run(record) or self.is_for_earlier_day(record, timezone))

    def counts_from(self, now: datetime) -> datetime:
        """Return from when on a success counts; naive UTC."""
        if self.scope == "today":
            assert self.day is not None
            return day_bounds(self.day, self.timezone)[0]
        if self.scope == "within":
            assert self.within_seconds is not None
            return now - timedelta(seconds=self.within_seconds)
        return parse_date(self.since) if self.scope == "since_last_run" and self.since else datetime.min

    @property
    def counts_until(self) -> datetime:
        """From when on a success does not count any more; naive UTC."""
        return day_bounds(self.day, self.timezone)[1] if self.same_day and self.day is not None else datetime.max


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The answer to a wait at one moment.

    :param state: ``done``, ``failed`` or ``waiting``.
    :param batch_id: the batch that ended it.
    :param text: a sentence for the log: what was found, and what the wait still needs.
    :param code: the same as the sentence, for programs; None from a server of an older version.
    :param intervals: where the ledger decides: for each job, which interval it must have loaded and what it lacks.
    """

    state: WaitState
    text: str
    batch_id: int | None = None
    code: VerdictCode | None = None
    intervals: Sequence[Shortfall] = ()

    def __post_init__(self) -> None:
        """Keep the sentence valid UTF-8: it may quote a value from Redis."""
        object.__setattr__(self, "text", encodable(self.text))

    @property
    def obstacle(self) -> WaitObstacle | None:
        """Why it cannot end unless a person acts: an unknown ``workflow`` or ``job``, or all jobs are ``disabled``."""
        return None if self.code is None else self.code.obstacle

    @property
    def is_over(self) -> bool:
        """Tell whether the wait has ended."""
        return self.state != "waiting"
