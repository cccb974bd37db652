# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""One time axis: batches and expected runs of a workflow, deadlines, bands, and what is wrong."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from told_facts import HOUR, NOW, at, file, moment, state, workflow

from batchy_provider.core.batch_notes import BatchNote
from batchy_provider.core.batch_outline import BatchOutline
from batchy_provider.core.deadline_warnings import DeadlineWarning, OverCode, WarningState
from batchy_provider.core.holds import Hold
from batchy_provider.core.workflow_state import UnreadableWorkflow
from batchy_provider.plan.expected_runs import ExpectedRun, RunState
from batchy_provider.plan.timeline import Span, TimelineProblem, TimelineRow, in_order, timeline_row
from batchy_provider.plan.timeline_runs import TimelineState, collapse, timeline_runs
from batchy_provider.plan.why_facts import WorkflowFacts

MINUTE = timedelta(minutes=1)
NIGHT = Span(moment("28 18:00"), moment("30 12:00"))
FOUR_HOURS = 4 * HOUR


def batch(number: int, started: str, ended: str | None, status: str = "success", **more: Any) -> BatchOutline:
    """Return a live batch of this night, or "28 02:00" of another."""
    closed = None if ended is None else moment(ended)
    given = {"batch_id": number, "kind": "live", "status": status, "started": moment(started), "ended": closed}
    return BatchOutline(**{**given, **more})


def expected(due: str, state: RunState = RunState.EXPECTED, **more: Any) -> ExpectedRun:
    return ExpectedRun(**{"workflow": "sales", "due": moment(due), "state": state, "start": moment(due), **more})


def row(facts: WorkflowFacts, *parts: BatchOutline | ExpectedRun, **more: Any) -> TimelineRow:
    batches = [each for each in parts if isinstance(each, BatchOutline)]
    plans = [each for each in parts if isinstance(each, ExpectedRun)]
    return timeline_row(facts, batches, plans, **{"span": NIGHT, "now": NOW, "is_late": False, **more})


# -- runs ------------------------------------------------------------------------------------------------------


def test_the_open_batch_gets_what_the_plan_says_of_it() -> None:
    running = expected("02:00", RunState.RUNNING, end_p50=moment("04:10"), end_p90=moment("05:25"))
    runs = timeline_runs(
        [batch(1, "28 02:00", "28 02:30"), batch(2, "02:00", None, "open")],
        [running, expected("30 02:00", miss_probability=0.2)],
        None,
        NOW,
    )
    assert [(run.state, run.batch_id) for run in runs] == [
        (TimelineState.SUCCESS, 1),
        (TimelineState.OPEN, 2),
        (TimelineState.EXPECTED, None),
    ]
    assert (runs[1].end, runs[1].end_p50, runs[1].end_p90) == (None, moment("04:10"), moment("05:25"))
    assert runs[2].miss_probability == 0.2


def test_a_batch_of_history_that_is_open_is_not_the_one_of_the_plan() -> None:
    running = expected("02:00", RunState.RUNNING, end_p50=moment("04:10"))
    fill = batch(1, "02:30", None, "open", kind="history")
    live, other = timeline_runs([batch(2, "02:00", None, "open"), fill], [running], None, NOW)
    assert (live.batch_id, live.end_p50) == (2, moment("04:10"))
    assert (other.batch_id, other.end_p50) == (1, None)


def test_an_open_batch_that_no_list_has_is_shown_by_the_plan() -> None:
    (run,) = timeline_runs([], [expected("02:00", RunState.RUNNING)], None, NOW)
    assert (run.state, run.batch_id) == (TimelineState.OPEN, None)


@pytest.mark.parametrize(
    ("ended", "again", "missed"),
    [
        ("02:50", None, False),
        ("02:51", None, True),
        (None, None, True),
        (None, "02:45", False),  # made again in time
        (None, "02:55", True),
    ],
)
def test_a_deadline_is_missed_without_a_success_in_time(ended: str | None, again: str | None, missed: bool) -> None:
    """It is 03:00. The run was due at 02:00, and has 50 minutes."""
    due = {"due": moment("02:00")}
    first = batch(1, "02:01", ended or "02:10", "success" if ended else "failed", **due)
    second = [] if again is None else [batch(2, "02:20", again, **due)]
    runs = timeline_runs([first, *second], [], 50 * MINUTE, NOW)
    assert {run.missed for run in runs} == {missed}
    assert runs[0].deadline == moment("02:50")


def test_a_deadline_ahead_is_not_missed_and_history_has_none() -> None:
    due = {"due": moment("02:00")}
    runs = timeline_runs(
        [batch(1, "02:01", "02:10", "failed", **due), batch(2, "02:20", None, "open", kind="history", **due)],
        [],
        2 * HOUR,
        NOW,
    )
    assert [(run.deadline, run.missed) for run in runs] == [(moment("04:00"), None), (None, None)]


def test_what_nobody_knows_stays_unknown() -> None:
    (run,) = timeline_runs([], [replace(expected("04:00"), due=None, start=None)], None, NOW)
    assert (run.start, run.end_p50, run.end_p90, run.place, run.last) == (None, None, None, None, None)


# -- the span --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("started", "ended", "is_there"),
    [
        ("28 17:00", "28 17:59", False),
        ("28 17:00", "28 18:01", True),
        ("26 17:00", None, True),  # open for days
        ("26 17:00", "30 13:00", True),  # longer than the axis
        ("30 11:59", None, True),
        ("30 12:00", None, False),
    ],
)
def test_which_batches_belong_on_the_axis(started: str, ended: str | None, is_there: bool) -> None:
    found = row(workflow("sales"), batch(1, started, ended, "open" if ended is None else "success"))
    assert bool(found.runs) is is_there
    assert found.is_empty is not is_there


def test_an_expected_run_whose_begin_nobody_knows_belongs_on_the_axis() -> None:
    assert row(workflow("sales"), replace(expected("04:00"), due=None, start=None)).runs
    assert not row(workflow("sales"), expected("30 12:00")).runs


# -- bands -----------------------------------------------------------------------------------------------------


def often(count: int, failed: tuple[int, ...] = (), pause_after: int | None = None) -> list[BatchOutline]:
    """Return batches of two minutes, one each five minutes."""
    found = []
    for number in range(count):
        begin = moment("28 20:00") + number * 5 * MINUTE
        if pause_after is not None and number > pause_after:
            begin += HOUR
        status = "failed" if number in failed else "success"
        given = {"batch_id": number + 1, "kind": "live", "status": status}
        found.append(BatchOutline(**given, started=begin, ended=begin + 2 * MINUTE))
    return found


def test_many_runs_become_bands_and_failures_stay_single() -> None:
    found = row(workflow("clicks"), *often(60, failed=(20,)))
    assert [(band.state, band.count) for band in found.bands] == [
        (TimelineState.SUCCESS, 20),
        (TimelineState.SUCCESS, 39),
    ]
    assert [run.batch_id for run in found.runs] == [21]
    first = found.bands[0]
    assert (first.start, first.end) == (moment("28 20:00"), moment("28 21:37"))
    assert first.longest_seconds == 120.0


def test_a_long_pause_ends_a_band() -> None:
    found = row(workflow("clicks"), *often(60, pause_after=29))
    assert [band.count for band in found.bands] == [30, 30]
    assert found.bands[1].start - found.bands[0].end > HOUR


def test_a_few_runs_stay_as_they_are() -> None:
    found = row(workflow("clicks"), *often(24))
    assert (len(found.runs), found.bands) == (24, [])


def test_of_very_many_failures_the_newest_stay_single() -> None:
    runs = timeline_runs(often(100, failed=tuple(range(100))), [], None, NOW)
    single, bands = collapse(runs, 24)
    assert [run.batch_id for run in single] == list(range(77, 101))
    assert [(band.state, band.count) for band in bands] == [(TimelineState.FAILED, 76)]


def test_no_run_is_lost_in_bands() -> None:
    runs = timeline_runs(often(90, failed=(0, 3, 4, 50), pause_after=70), [], None, NOW)
    single, bands = collapse(runs, 24)
    assert len(single) + sum(band.count for band in bands) == len(runs)


def test_expected_runs_become_a_band_of_their_own() -> None:
    plans = [
        ExpectedRun(workflow="clicks", due=begin, state=RunState.EXPECTED, start=begin, end_p90=begin + 3 * MINUTE)
        for begin in (NOW + number * 5 * MINUTE for number in range(30))
    ]
    found = row(workflow("clicks"), *often(30), *plans)
    assert [(band.state, band.count, band.longest_seconds) for band in found.bands] == [
        (TimelineState.SUCCESS, 30, 120.0),
        (TimelineState.EXPECTED, 30, None),
    ]


# -- problems --------------------------------------------------------------------------------------------------


def problems(facts: WorkflowFacts, *parts: BatchOutline | ExpectedRun, **more: Any) -> list[str]:
    return [each.value for each in row(facts, *parts, **more).problems]


def test_problems_of_states() -> None:
    known = BatchNote(at=at("02:40"), by="ann", ack=True)
    hold = Hold(by="ann", why="storage", since=at("01:00"), until=at("06:00"))
    over = replace(hold, until=at("02:59"))
    assert problems(workflow("sales", state=state("sales"))) == []
    assert problems(workflow("sales", state=state("sales", "failed"))) == ["failed"]
    acknowledged = state("sales", "failed", record={"notes": [known]})
    assert problems(workflow("sales", state=acknowledged)) == ["acknowledged"]
    assert problems(workflow("sales", state=state("sales", hold=hold))) == ["on_hold"]
    assert problems(workflow("sales", state=state("sales", hold=over))) == []
    assert problems(workflow("sales", state=UnreadableWorkflow("sales", "no JSON"))) == ["unreadable"]
    assert problems(workflow("sales", file=file(fault="line 1: no cron", faults=1))) == ["invalid_file"]
    assert problems(workflow("sales", state=state("sales", "open", began="28 02:59"))) == ["open_long"]
    assert problems(workflow("sales", state=state("sales", "open", began="28 03:01"))) == []


def test_problems_of_deadlines_with_the_worst_first() -> None:
    facts = workflow("sales", file=file(deadline=FOUR_HOURS), state=state("sales", "failed"))
    assert problems(facts, expected("30 02:00", miss_probability=0.49)) == ["failed"]
    assert problems(facts, expected("30 02:00", miss_probability=0.5)) == ["failed", "at_risk"]
    assert problems(facts, expected("30 02:00", miss_probability=0.5), is_late=True) == ["failed", "missed", "at_risk"]


def test_a_warning_that_stands_is_a_problem() -> None:
    def warned(**more: Any) -> WorkflowFacts:
        danger = WarningState.DANGER
        given = {
            "run": at("30 02:00"),
            "deadline": moment("30 06:00"),
            "since": NOW,
            "seen": NOW,
            "chance": 0.9,
            "state": danger,
        }
        warning = DeadlineWarning(**{**given, **more})
        return workflow("sales", state=state("sales", warnings={warning.run: warning}))

    assert problems(warned()) == ["at_risk"]
    assert problems(warned(state=WarningState.OVER, over=OverCode.CHANCE_FELL)) == []
    assert problems(warned(deadline=moment("02:00"))) == []  # it has passed: others say whether it was missed


def test_a_deadline_that_was_missed_tonight_stays_a_problem_of_tonight() -> None:
    facts = workflow("sales", file=file(deadline=20 * MINUTE), state=state("sales"))
    assert problems(facts, batch(1, "02:01", "02:30", due=moment("02:00"))) == ["missed"]


def test_a_night_that_is_over_has_the_problems_it_ended_with() -> None:
    past = Span(moment("26 18:00"), moment("27 12:00"))
    bad = batch(1, "27 02:00", "27 02:10", "failed")
    healthy = workflow("sales", state=state("sales"))
    assert problems(healthy, bad, span=past) == ["failed"]
    assert problems(healthy, bad, batch(2, "27 03:00", "27 03:10"), span=past) == []
    broken = workflow("sales", state=state("sales", "failed"), file=file(fault="line 1: no cron", faults=1))
    assert problems(broken, batch(1, "27 02:00", "27 02:10"), span=past) == []


def test_the_worst_come_first_and_the_empty_last() -> None:
    failed = row(workflow("zoo", state=state("zoo", "failed")))
    held = TimelineRow("abc", (TimelineProblem.ON_HOLD,), (), ())
    running = row(workflow("sales"), batch(1, "02:00", None, "open"))
    done = row(workflow("erp"), batch(1, "02:00", "02:10"))
    empty = row(workflow("crm"))
    rows = {each.workflow: each for each in (empty, done, running, held, failed)}
    assert [each.workflow for each in in_order(rows)] == ["zoo", "abc", "sales", "erp", "crm"]


def test_times_are_not_rounded() -> None:
    (run,) = timeline_runs(
        [BatchOutline(batch_id=1, kind="live", status="success", started=datetime(2026, 11, 29, 2, 0, 1), ended=NOW)],
        [],
        None,
        NOW,
    )
    assert run.start == datetime(2026, 11, 29, 2, 0, 1)
