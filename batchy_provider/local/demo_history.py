# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Invent the history of six example workflows over 60 nights, so that the page of a new demo has something to show.

Only `batchy demo` calls this, on the Redis that it has started itself. Each batch goes through the same rules as a real
one, under a clock that this file sets. Each says that it is demo history, in `by` and in its reason.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

from batchy_provider.bundles.execution_id import ExecutionId
from batchy_provider.bundles.result_store import ResultStore
from batchy_provider.core.dates import to_utc
from batchy_provider.core.holders import Holder
from batchy_provider.core.values import Actor, CloseRequest, OpenRequest, Window
from batchy_provider.core.vocabulary import Outcome
from batchy_provider.local.demo_stories import STORIES, Failure, Story
from batchy_provider.services.composition import Services
from batchy_provider.services.services_at_url import services_at

BY = "demo history"
"""Who has opened each batch that is invented."""
WHY = "invented by batchy demo"
NIGHTS = 60
ZONE = ZoneInfo("Europe/Paris")

_OUTAGE = range(20, 24)
"""So many nights ago nothing ran: the next batch loads a window of five days."""
_WITH_RESULTS = 10
"""Of so many of the last nights the results are stored, too, and of all failures."""
_ANN, _BEN = Actor("ann (demo history)", "demo"), Actor("ben (demo history)", "demo")


def make_demo_history(
    redis_url: str, cfg: Path, results: Path | None = None, *, now: datetime | None = None
) -> list[str]:
    """Invent the history of the example workflows that have none yet, and return their names.

    :param redis_url: the Redis of the demo.
    :param cfg: the folder of workflow files; a workflow without a file there gets no history.
    :param results: the result store, a folder; None to invent no results.
    :param now: when the last night is over, naive UTC; default: now.
    """
    now = now or to_utc(datetime.now(timezone.utc))
    services = Services(store=lambda: store, cfg=cfg)
    store = services_at(redis_url).store
    clock = _Clock(now)
    store.backend.clock = clock
    try:
        known = {state.workflow for state in services.states.all()}
        new = [name for name in STORIES if name not in known and (cfg / f"{name}.yaml").is_file()]
        ends: dict[tuple[str, date], datetime] = {}
        for name in new:
            _Teller(
                services, clock, name, STORIES[name], ends, None if results is None else ResultStore(str(results))
            ).tell(now)
        if "demo_mail" in new:
            clock.now = now
            monday = now.date() + timedelta(days=7 - now.weekday())
            until = to_utc(datetime.combine(monday, time(6), ZONE))
            services.holds.hold("demo_mail", actor=_ANN, why="the mail provider moves to new servers", until=until)
    finally:
        services.close()
    return new


@dataclass
class _Clock:
    """The clock of the store, instead of that of Redis."""

    now: datetime

    def __call__(self, seconds: int, microseconds: int = 0) -> datetime:
        return self.now


class _Teller:
    def __init__(
        self,
        services: Services,
        clock: _Clock,
        workflow: str,
        story: Story,
        ends: dict[tuple[str, date], datetime],
        results: ResultStore | None,
    ) -> None:
        self._services = services
        self._clock = clock
        self._workflow = workflow
        self._story = story
        self._ends = ends
        self._results = results
        config = services.workflows.config(workflow)
        assert config is not None
        self._config = config
        self._free = datetime.min

    def tell(self, now: datetime) -> None:
        """Open and close the batches of all nights that are over."""
        today = now.replace(tzinfo=timezone.utc).astimezone(ZONE).date()
        for ago in range(NIGHTS - 1, -1, -1):
            day = today - timedelta(days=ago)
            if ago in _OUTAGE or day.weekday() not in self._story.runs_on:
                continue
            due = to_utc(datetime.combine(day, self._story.at, ZONE))
            start = max([due, self._free, *(self._ends.get((name, day), due) for name in self._story.needs)])
            self._night(day, ago, start + timedelta(seconds=9), now)

    def _night(self, day: date, ago: int, start: datetime, now: datetime) -> None:
        failure = self._story.failures.get(ago)
        seconds = self._seconds(day, ago)
        done = dict(_until_failure(seconds, failure))
        end = start + timedelta(seconds=sum(done.values()) + 4)
        if end > now:
            return  # this night is not over yet
        batch_id = self._batch(
            start, end, done, failure, skips=self._story.skipped_day == ago, with_results=ago < _WITH_RESULTS
        )
        self._free = end
        self._ends[self._workflow, day] = end
        if failure is None:
            return
        self._people(batch_id, failure, end)
        if failure.again is not None:
            again = end + timedelta(hours=failure.again)
            self._batch(again, again + timedelta(seconds=sum(seconds.values())), seconds, None, with_results=True)
            self._free = again + timedelta(seconds=sum(seconds.values()))

    def _seconds(self, day: date, ago: int) -> dict[str, float]:
        """Return job → how long it takes in a night; the same for each demo that is started on this day."""
        story = self._story
        luck = random.Random(f"{self._workflow} {day.isoformat()}")  # noqa: S311  # nosec B311  # not a secret
        share = 1 + (story.growth - 1) * (NIGHTS - 1 - ago) / (NIGHTS - 1)
        share *= story.weekdays.get(day.weekday(), 1.0)
        if ago == _OUTAGE.start - 1:
            share *= (len(_OUTAGE) + 1) ** 0.9  # the long window after the outage
        return {
            job: 60 * minutes * share * luck.lognormvariate(0, story.spread) for job, minutes in story.minutes.items()
        }

    def _batch(
        self,
        start: datetime,
        end: datetime,
        seconds: Mapping[str, float],
        failure: Failure | None,
        *,
        skips: bool = False,
        with_results: bool,
    ) -> int:
        self._clock.now = start
        store = self._services.store
        # The next window of the very first batch would reach back to the beginning of all data.
        first = None if self._free != datetime.min else Window(from_date=start - timedelta(days=1), to_date=start)
        window = Window(from_date=start - timedelta(hours=4), to_date=start) if skips else first
        request = OpenRequest(
            holder=Holder(by=BY), config=self._config, window=window, move_watermark=window is not None, why=WHY
        )
        batch_id = store.open(self._workflow, request).batch_id
        self._clock.now = end
        outcomes: dict[str, Outcome] = {
            job: "success" if job in seconds and (failure is None or job != failure.job) else "failed"
            for job in self._config.jobs
        }
        store.close(
            self._workflow,
            CloseRequest(
                result="success" if failure is None else "failed", batch_id=batch_id, outcomes=outcomes, seconds=seconds
            ),
        )
        if self._results is not None and (with_results or failure is not None):
            self._write_results(batch_id, start, seconds, failure)
        return batch_id

    def _people(self, batch_id: int, failure: Failure, end: datetime) -> None:
        holds = self._services.holds
        self._clock.now = end + timedelta(minutes=50)
        if failure.note is not None:
            holds.note(self._workflow, batch_id, failure.note, actor=_BEN)
        if failure.ack is not None:
            self._clock.now += timedelta(minutes=20)
            holds.acknowledge(self._workflow, batch_id, failure.ack, actor=_ANN)

    def _write_results(
        self, batch_id: int, start: datetime, seconds: Mapping[str, float], failure: Failure | None
    ) -> None:
        assert self._results is not None
        for job, took in seconds.items():
            failed = failure is not None and failure.job == job
            identity = ExecutionId(workflow=self._workflow, batch_id=str(batch_id), job=job, attempt="1")
            end = start + timedelta(seconds=took)
            lines = int(took)  # the longer, the more rows
            with self._results.draft(identity, Path()) as draft:
                (draft.folder / "stdout").write_text(
                    f"{BY}: {WHY}\n" + f"{job}: {lines} rows\n" * (1 if failed else lines // 60)
                )
                (draft.folder / "stderr").write_text(failure.stderr if failed and failure is not None else "")
                draft.commit(
                    {
                        "state": "failed" if failed else "success",
                        "exit_code": 1 if failed else 0,
                        "started": f"{start.isoformat()}+00:00",
                        "finished": f"{end.isoformat()}+00:00",
                        "reason": f"{BY}: the script ended with exit code 1" if failed else None,
                    }
                )
            start = end


def _until_failure(seconds: Mapping[str, float], failure: Failure | None) -> Iterator[tuple[str, float]]:
    """Yield the jobs that run in a night: none after one that fails, which fails half way."""
    for job, took in seconds.items():
        failed = failure is not None and failure.job == job
        yield job, took / 2 if failed else took
        if failed:
            return
