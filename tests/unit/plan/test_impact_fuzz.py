# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Impact against a plain model: all that can be reached is affected, and what is certain cannot be otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from told_facts import NOW, facts, file, state, workflow

from batchy_provider.core.dates import parse_date
from batchy_provider.core.schedules import Schedule
from batchy_provider.plan.impact import Impact, impact
from batchy_provider.plan.why_facts import Dependency, Facts, Need

DAY = timedelta(days=1)
NEVER = datetime.max
NAMES = [f"w{number}" for number in range(6)]
GONE = "gone"
"""Needed by some, and defined by no file."""

needs = st.builds(
    Need,
    workflow=st.sampled_from([*NAMES, GONE]),
    by=st.sampled_from([Dependency.WAIT_FOR, Dependency.WAIT_FOR, Dependency.AFTER, Dependency.UNTIL]),
    scope=st.sampled_from(["today", "today", "due", "due", "any", "since_last_run"]),
)
described = st.fixed_dictionaries(
    {
        "needs": st.lists(needs, max_size=3),
        "hours": st.lists(st.integers(0, 23), max_size=3, unique=True),
        "deadline": st.none() | st.integers(1, 40),
        "done": st.booleans(),
    }
)
nights = st.fixed_dictionaries(dict.fromkeys(NAMES, described))


def night(told: Mapping[str, Any]) -> Facts:
    """Return the facts. Who is done has succeeded since it was due last; the others have before that."""
    found = []
    for name, each in told.items():
        schedule = Schedule(crons=tuple(f"0 {hour} * * *" for hour in sorted(each["hours"])))
        last = schedule.last_fire(NOW) if schedule.known else NOW - DAY
        ended = last if each["done"] else (schedule.fire_before(last) if schedule.known else last - DAY)
        text = f"{ended:%d %H:%M}"
        deadline = None if each["deadline"] is None else timedelta(hours=each["deadline"])
        own = file(*each["needs"], schedule=schedule, deadline=deadline)
        found.append(workflow(name, file=own, state=state(name, began=text, ended=text)))
    return facts(*found)


def reached(of: Facts, root: str) -> dict[str, int]:
    """Return who needs a workflow, directly or through others → over how many steps at least."""
    found, steps = {root: 0}, 0
    while True:
        steps += 1
        new = {
            name
            for name, each in of.workflows.items()
            for need in each.needs
            if name not in found and found.get(need.workflow) == steps - 1 and not _is_any(of, need)
        }
        if not new:
            del found[root]
            return found
        found |= dict.fromkeys(new, steps)


def _is_any(of: Facts, need: Need) -> bool:
    return need.by is Dependency.WAIT_FOR and need.scope == "any" and need.workflow in of.workflows


class Model:
    """The earliest moment at which each run can end if no job takes any time, by trying until nothing changes."""

    def __init__(self, of: Facts, root: str, late: timedelta | None) -> None:
        self.of = of
        self.runs = {name: self._due(name) for name in of.workflows}
        self.ends: dict[str, list[datetime]] = {name: list(runs) for name, runs in self.runs.items()}
        self.failing = root if late is None else None
        self.first: datetime | None = None
        if self.runs[root]:
            due = self.runs[root][0]
            self.first = NEVER if late is None else max(due + late, NOW)
        for _ in range(60):
            before = {name: list(ends) for name, ends in self.ends.items()}
            for name, runs in self.runs.items():
                ends = [self._end(name, due) for due in runs]
                self.ends[name] = ends if name != root or self.first is None else [self.first, *ends[1:]]
            if self.ends == before:
                break

    def _due(self, name: str) -> list[datetime]:
        each = self.of.workflows[name]
        if not each.schedule.known:
            return []
        last = each.schedule.last_fire(NOW)
        assert each.readable is not None
        assert each.readable.last_success is not None
        pending = [] if parse_date(each.readable.last_success) >= last else [last]
        return [*pending, *each.schedule.fires(NOW + timedelta(seconds=1), NOW + 4 * DAY)]

    def _end(self, name: str, due: datetime) -> datetime:
        waits = [need for need in self.of.workflows[name].needs if need.by is Dependency.WAIT_FOR]
        return max([due, NOW, *(self._ready(need, due) for need in waits)])

    def _ready(self, need: Need, due: datetime) -> datetime:
        """Return when a success can be there at the earliest. A run may take as long as it likes, but not less."""
        other = self.of.workflows.get(need.workflow)
        if other is None or need.scope not in ("today", "due"):
            return datetime.min
        if not self.runs[need.workflow] and need.workflow != self.failing:
            return datetime.min  # who knows: somebody may start it
        assert other.readable is not None
        assert other.readable.last_success is not None
        last = parse_date(other.readable.last_success)
        pairs = zip(self.runs[need.workflow], self.ends[need.workflow], strict=True)
        if need.scope == "due" and other.schedule.known:
            fire = other.schedule.last_fire(due)
            return datetime.min if last >= fire else min((end for at, end in pairs if at >= fire), default=NEVER)
        day = due.replace(hour=0, minute=0)
        return datetime.min if last >= day else min((max(end, day) for _, end in pairs), default=NEVER)


def check(of: Facts, found: Impact, root: str, late: timedelta | None) -> None:
    model = Model(of, root, late)
    for each in found.downstream:
        if each.miss_probability is None:
            continue
        assert each.miss_probability == 1.0
        assert each.deadline is not None
        told = of.workflows[each.workflow].file
        assert told is not None
        assert told.deadline is not None
        place = model.runs[each.workflow].index(each.deadline - told.deadline)
        # A job takes some time: a run that cannot begin before its deadline misses it.
        assert model.ends[each.workflow][place] >= each.deadline, each


@settings(max_examples=150, deadline=None)
@given(nights, st.none() | st.integers(0, 60))
def test_what_is_certain_can_happen_in_no_other_way(told: Mapping[str, Any], hours: int | None) -> None:
    of, root = night(told), NAMES[0]
    late = None if hours is None else timedelta(hours=hours)
    found = impact(of, root, late=late, failed=late is None)
    assert {each.workflow: len(each.via) for each in found.downstream} == reached(of, root)
    for each in found.downstream:
        names = [*(step.workflow for step in each.via), each.workflow]
        assert names[0] == root
        for upper, lower, step in zip(names, names[1:], each.via, strict=False):
            assert any(need.workflow == upper and need.by is step.by for need in of.workflows[lower].needs)
    check(of, found, root, late)


@settings(max_examples=50, deadline=None)
@given(nights)
def test_a_workflow_that_no_file_knows_can_be_asked_for_too(told: Mapping[str, Any]) -> None:
    of = night(told)
    with_gone = facts(*of.workflows.values(), workflow(GONE, file=None))
    found = impact(with_gone, GONE, failed=True)
    assert {each.workflow: len(each.via) for each in found.downstream} == reached(of, GONE)


def told(**more: Any) -> dict[str, Any]:
    return {"needs": [], "hours": [], "deadline": None, "done": False, **more}


def test_a_chain_of_waits_is_certain_in_the_model_and_here() -> None:
    wait = Need(workflow="w0", by=Dependency.WAIT_FOR)
    then = Need(workflow="w1", by=Dependency.WAIT_FOR, scope="due")
    of = night(
        {
            "w0": told(hours=[2]),
            "w1": told(hours=[4], needs=[wait], deadline=2, done=True),
            "w2": told(hours=[4], needs=[then], deadline=3, done=True),
        }
    )
    found = impact(of, "w0", failed=True)
    assert [each.miss_probability for each in found.downstream] == [1.0, 1.0]
    check(of, found, "w0", None)


def test_a_run_that_is_still_due_from_yesterday_can_give_todays_success() -> None:
    of = night(
        {
            "w0": told(done=True),
            "w1": told(hours=[4], needs=[Need(workflow="w0", by=Dependency.WAIT_FOR)]),
            "w2": told(hours=[0], needs=[Need(workflow="w1", by=Dependency.WAIT_FOR)], deadline=4),
        }
    )
    found = impact(of, "w0", failed=True)
    assert [each.miss_probability for each in found.downstream] == [None, None]
    check(of, found, "w0", None)
