# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""A night on one time axis, from a real Valkey: which batches it has, what is expected, what cannot be read."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from loaded_nights import ANN
from why_nights import write

from batchy_provider.core.values import CloseRequest, Holder, OpenRequest, Window, WorkflowConfig
from batchy_provider.exceptions import ConfigError, WindowError
from batchy_provider.services.composition import Services
from batchy_provider.services.timeline_views import Timeline, TimelineRowView
from batchy_provider.state.connections import open_client
from batchy_provider.state.outline_reader import OutlineReader
from batchy_provider.state.store import Store

NOW = datetime(2026, 11, 29, 3)
MINUTE = timedelta(minutes=1)


class Night:
    """Workflows whose batches are opened and closed at times that the test chooses."""

    def __init__(self, url: str, cfg: Path) -> None:
        self.now = NOW
        self.cfg = cfg
        self.services = Services(store=lambda: Store(open_client(url), clock=lambda seconds, micros: self.now), cfg=cfg)
        self.store = self.services.store

    def batch(
        self, name: str, start: datetime, minutes: float | None, *, result: Any = "success", history: bool = False
    ) -> int:
        """Open a batch at a moment, and close it after some minutes; None: leave it open."""
        self.now = start
        window = Window(from_date="2026-11-01", to_date="2026-11-02") if history else None
        config = WorkflowConfig(name=name, jobs={"extract": {}, "load": {}})
        run = Holder(dag_id=name, run_id=f"run {start.isoformat()}")
        request = OpenRequest(config=config, holder=run, window=window, due=start.isoformat())
        opened = self.store.open(name, request)
        if minutes is not None:
            self.now = start + minutes * MINUTE
            outcomes: dict[str, Any] = {"extract": "success", "load": result}
            self.store.close(name, CloseRequest(result=result, batch_id=opened.batch_id, outcomes=outcomes))
        self.now = NOW
        return opened.batch_id

    def show(self, from_date: str | None = None, to_date: str | None = None, **how: Any) -> Timeline:
        service = self.services.tonight
        return service.show(service.span(from_date, to_date), **how)

    def row(self, name: str, from_date: str | None = None, to_date: str | None = None) -> TimelineRowView:
        (found,) = self.show(from_date, to_date, workflows=[name]).items
        return found


@pytest.fixture
def night(redis_url: str, cfg: Path) -> Iterator[Night]:
    night = Night(redis_url, cfg)
    yield night
    night.services.close()


def test_actual_and_expected_runs_of_a_night(night: Night) -> None:
    write(night.cfg, "sales", schedule="0 2 * * *", deadline={"within": "1h", "notify": "x.Pager"}, owner="ann")
    for day in range(20, 29):
        night.batch("sales", datetime(2026, 11, day, 2), 30)
    last = night.batch("sales", datetime(2026, 11, 29, 2), None)
    found = night.show()
    assert (found.from_date, found.to_date) == ("2026-11-28T18:00:00.000000", "2026-11-30T12:00:00.000000")
    assert found.now == "2026-11-29T03:00:00.000000"
    (row,) = found.items
    assert (row.workflow, row.status, row.owner, row.problems) == ("sales", "open", "ann", ["missed"])
    running, tomorrow = row.runs
    assert (running.state, running.batch_id, running.missed) == ("open", last, True)
    assert running.start == "2026-11-29T02:00:00.000000"
    assert running.end_p50 is not None
    assert running.jobs == {"open": 2}
    assert (tomorrow.state, tomorrow.due, tomorrow.deadline) == (
        "expected",
        "2026-11-30T02:00:00.000000",
        "2026-11-30T03:00:00.000000",
    )
    assert tomorrow.end_p50 is not None
    assert [step.workflow for step in tomorrow.critical_path] == ["sales"]


def test_a_failure_says_which_jobs_and_who_knows_of_it(night: Night) -> None:
    write(night.cfg, "sales", schedule="0 2 * * *")
    number = night.batch("sales", datetime(2026, 11, 29, 2), 10, result="failed")
    assert night.row("sales").problems == ["failed"]
    night.services.holds.acknowledge("sales", number, "the bank sends it again", actor=ANN)
    row = night.row("sales")
    assert row.problems == ["acknowledged"]
    failed = row.runs[0]
    assert (failed.state, failed.jobs, failed.failed_jobs) == ("failed", {"success": 1, "failed": 1}, ["load"])
    assert failed.acknowledged is not None
    assert (failed.acknowledged.by, failed.acknowledged.text) == ("ann", "the bank sends it again")


def test_without_history_nothing_is_made_up(night: Night) -> None:
    write(night.cfg, "fresh", schedule="0 4 * * *")
    row = night.row("fresh")
    assert (row.status, row.problems, row.runs[0].state) == ("new", [], "expected")
    assert (row.runs[0].end_p50, row.runs[0].end_p90, row.runs[0].miss_probability) == (None, None, None)


def test_batches_of_other_nights_are_not_there(night: Night) -> None:
    write(night.cfg, "sales", schedule="0 2 * * *")
    ids = [night.batch("sales", datetime(2026, 11, day, 2), 30) for day in range(20, 30)]
    row = night.row("sales", "2026-11-24T18:00", "2026-11-25T12:00")
    assert [run.batch_id for run in row.runs] == [ids[5]]
    both = night.row("sales", "2026-11-24T01:00", "2026-11-25T12:00")
    assert [run.batch_id for run in both.runs] == ids[4:6]


def test_batches_that_reach_into_the_night(night: Night) -> None:
    write(night.cfg, "sales", schedule=None)
    night.batch("sales", datetime(2026, 11, 26, 2), 10)
    days = night.batch("sales", datetime(2026, 11, 27, 2), 60 * 40)  # closed at 18:00 on the 28th
    fill = night.batch("sales", datetime(2026, 11, 29, 1), 10, history=True)
    stuck = night.batch("sales", datetime(2026, 11, 29, 2), None)
    row = night.row("sales")
    assert [(run.batch_id, run.kind) for run in row.runs] == [(days, "live"), (fill, "history"), (stuck, "live")]
    assert row.runs[0].end == "2026-11-28T18:00:00.000000"


def test_a_workflow_of_every_five_minutes_has_bands(night: Night) -> None:
    write(night.cfg, "clicks", schedule=None)
    start = datetime(2026, 11, 28, 20)
    ids = [
        night.batch("clicks", start + number * 5 * MINUTE, 2, result="failed" if number == 40 else "success")
        for number in range(60)
    ]
    for _ in range(2):  # the second answer is from memory
        row = night.row("clicks")
        assert [(band.state, band.count, band.longest_seconds) for band in row.bands] == [
            ("success", 40, 120.0),
            ("success", 19, 120.0),
        ]
        (failed,) = row.runs
        assert (failed.batch_id, failed.failed_jobs) == (ids[40], ["load"])
    # A shorter span has the single batches, with their jobs.
    few = night.row("clicks", "2026-11-28T20:00", "2026-11-28T20:20")
    assert [run.jobs for run in few.runs] == [{"success": 2}] * 4
    assert few.bands == []


def test_the_number_of_batches_is_bounded_and_what_is_left_out_is_said(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("batchy_provider.state.outline_reader.MOST_OF_ONE", 25)
    write(night.cfg, "clicks", schedule=None)
    for number in range(40):
        night.batch("clicks", datetime(2026, 11, 28, 20) + number * 5 * MINUTE, 2)
    row = night.row("clicks")
    assert row.left_out == 15
    assert sum(band.count for band in row.bands) + len(row.runs) == 25


def test_an_answer_says_that_the_plan_ends_before_the_span(night: Night) -> None:
    write(night.cfg, "clicks", schedule="*/5 * * * *")
    assert night.row("clicks", "2026-11-29T00:00", "2026-11-30T12:00").more
    assert not night.row("clicks", "2026-11-29T00:00", "2026-11-29T12:00").more


def test_search_problems_and_pages(night: Night) -> None:
    write(night.cfg, "sales", schedule="0 2 * * *", tags=["nightly"], owner="Ann")
    write(night.cfg, "erp", schedule="0 2 * * *", description="Ledger of the ERP")
    write(night.cfg, "crm", schedule="0 2 * * *", tags=["nightly"])
    write(night.cfg, "broken", schedule="every day")
    night.batch("erp", datetime(2026, 11, 29, 2), 10, result="failed")

    def names(**how: Any) -> list[str]:
        return [row.workflow for row in night.show(**how).items]

    assert names() == ["broken", "erp", "crm", "sales"]
    assert night.show().counts == {"all": 4, "problems": 2, "empty": 1, "invalid_file": 1, "failed": 1}
    assert names(problems=True) == ["broken", "erp"]
    assert names(search="LEDGER") == ["erp"]
    assert names(search="nightly") == ["crm", "sales"]
    assert names(search="ann") == ["sales"]
    assert names(limit=2, offset=1) == ["erp", "crm"]
    assert night.show(limit=2, offset=1).total == 4
    assert names(only={"crm"}) == ["crm"]
    assert names(workflows=["sales", "nobody"]) == ["sales"]


def test_one_damaged_workflow_does_not_hide_another(night: Night) -> None:
    for name in ("crm", "erp", "sales"):
        write(night.cfg, name, schedule=None)
    night.batch("crm", datetime(2026, 11, 29, 1), 10)
    good = night.batch("erp", datetime(2026, 11, 29, 1), 10)
    bad = night.batch("erp", datetime(2026, 11, 29, 2), 10)
    night.batch("sales", datetime(2026, 11, 29, 2), 10)
    client, keys = night.store.backend.client, night.store.backend.keys
    client.hset(keys("erp").meta, f"batch:{bad}", "no JSON")
    client.hset(keys("crm").live, "load", "no JSON")
    client.delete(keys("sales").history)
    client.set(keys("sales").history, "of another program")
    rows = {row.workflow: row for row in night.show().items}
    assert rows["crm"].problems == ["unreadable"]
    assert [run.batch_id for run in rows["erp"].runs] == [good]
    assert len(rows["sales"].runs) == 1  # the list of closed batches has it


def test_the_second_reading_takes_no_batches_from_redis(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    write(night.cfg, "sales", schedule=None)
    for hour in range(10):
        night.batch("sales", datetime(2026, 11, 28, 17) + hour * 60 * MINUTE, 10)
    reader, backend = OutlineReader(), night.store.backend
    sent: list[str] = []
    real = backend.pipelined
    monkeypatch.setattr(backend, "pipelined", lambda each: sent.extend(one[0] for one in each) or real(each))

    def read() -> int:
        sent.clear()
        found = reader.read(backend, ["sales"], datetime(2026, 11, 28, 18), datetime(2026, 11, 30))
        return len(found["sales"].batches)

    assert read() == 9
    assert sent.count("HGETALL") == 10
    assert read() == 9
    assert "HGETALL" not in sent
    assert len(sent) == 6


def test_a_batch_of_the_original_server_is_read_from_its_jobs(night: Night) -> None:
    write(night.cfg, "sales", schedule=None)
    number = night.batch("sales", datetime(2026, 11, 29, 2), 10)
    night.store.backend.client.hdel(night.store.backend.keys("sales").meta, f"batch:{number}")
    (run,) = night.row("sales").runs
    assert (run.batch_id, run.state, run.end) == (number, "success", "2026-11-29T02:10:00.000000")


@pytest.mark.parametrize(
    ("timezone", "begin", "end"),
    [
        ("UTC", "2026-10-24T18:00:00.000000", "2026-10-26T12:00:00.000000"),
        ("Europe/Berlin", "2026-10-24T16:00:00.000000", "2026-10-26T11:00:00.000000"),  # an hour more: clocks change
        ("Pacific/Kiritimati", "2026-10-24T04:00:00.000000", "2026-10-25T22:00:00.000000"),
    ],
)
def test_the_default_is_last_evening_to_next_noon_where_the_viewer_is(
    night: Night, timezone: str, begin: str, end: str
) -> None:
    night.now = datetime(2026, 10, 25, 3)
    start, stop = night.services.tonight.span(timezone=timezone)
    assert (start, stop) == (datetime.fromisoformat(begin), datetime.fromisoformat(end))


def test_a_date_without_an_offset_is_in_the_timezone_of_the_viewer(night: Night) -> None:
    span = night.services.tonight.span
    assert span("2026-11-28T18:00", "2026-11-29T12:00+00:00", timezone="Europe/Berlin") == (
        datetime(2026, 11, 28, 17),
        datetime(2026, 11, 29, 12),
    )


@pytest.mark.parametrize(
    ("error", "asked"),
    [
        (ConfigError, {"from_date": "2026-11-29", "to_date": "2026-11-29"}),
        (ConfigError, {"from_date": "2026-11-01", "to_date": "2026-11-29"}),
        (ConfigError, {"from_date": "2027-01-01", "to_date": "2027-01-02"}),
        (WindowError, {"from_date": "yesterday"}),
        (WindowError, {"timezone": "Europe/Nowhere"}),
    ],
)
def test_a_span_that_is_not_possible_is_refused(night: Night, error: type[Exception], asked: dict[str, str]) -> None:
    with pytest.raises(error):
        night.services.tonight.span(**asked)


def test_no_workflow_at_all(night: Night) -> None:
    found = night.show()
    assert (found.items, found.total, found.counts) == ([], 0, {"all": 0, "problems": 0, "empty": 0})
