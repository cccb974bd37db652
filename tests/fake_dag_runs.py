# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Runs of a DAG as a fill sees them, without an Airflow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from batchy_provider.core.dates import parse_date
from batchy_provider.core.intervals import Interval
from batchy_provider.core.values import Actor
from batchy_provider.services.fill_requests import KnownRun


class FakeDagRuns:
    """The runs of one DAG.

    :ivar paused: None if there is no DAG.
    :ivar hidden: runs that `with_windows` does not return yet, as if they were queued a moment later.
    """

    def __init__(self) -> None:
        self.runs: dict[str, KnownRun] = {}
        self.paused: bool | None = False
        self.conf: dict[str, Mapping[str, object]] = {}
        self.hidden: set[str] = set()

    def is_paused(self, workflow: str) -> bool | None:
        return self.paused

    def with_windows(self, workflow: str) -> list[KnownRun]:
        return [run for run in self.runs.values() if run.run_id not in self.hidden]

    def create(self, workflow: str, run_id: str, conf: Mapping[str, object], actor: Actor) -> bool:
        if run_id in self.runs:
            return False
        self.conf[run_id] = conf
        self.put(run_id, str(conf["from_date"]), str(conf["to_date"]))
        return True

    def put(self, run_id: str, start: str, end: str, state: str = "queued") -> None:
        self.runs[run_id] = KnownRun(run_id, state, Interval(parse_date(start), parse_date(end)))

    def end(self, state: str) -> None:
        self.runs = {name: replace(run, state=state) for name, run in self.runs.items()}
