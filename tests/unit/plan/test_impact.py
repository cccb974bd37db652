# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Who needs a workflow, and which of their deadlines are certainly missed if it is late or fails."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from told_facts import after, facts, file, moment, state, until, workflow

from batchy_provider.core.schedules import Schedule
from batchy_provider.plan.impact import Impact, impact
from batchy_provider.plan.why_facts import Dependency, Facts, Need, WorkflowFacts

SIX = Schedule(crons=("0 4 * * *",))
"""Due at 04:00, an hour from now."""


def user(
    name: str, *needs: Need | str, schedule: Schedule = SIX, hours: float | None = 2, **more: Any
) -> WorkflowFacts:
    """Return a workflow that was loaded last night, with a deadline so many hours after 04:00."""
    deadline = None if hours is None else timedelta(hours=hours)
    told = file(*needs, schedule=schedule, deadline=deadline, **more)
    return workflow(name, file=told, state=state(name, began="28 04:00", ended="28 05:00"))


CRM = workflow("crm", state=state("crm", began="28 02:00", ended="28 02:30"))
"""Due at 02:00 tonight, and not done."""


def missed(found: Impact) -> dict[str, float | None]:
    return {each.workflow: each.miss_probability for each in found.downstream}


def ways(found: Impact) -> dict[str, str]:
    return {each.workflow: " ".join(f"{step.workflow}:{step.by}" for step in each.via) for each in found.downstream}


NIGHT = facts(
    CRM,
    user("dwh", "crm"),
    user("report", after("dwh"), schedule=Schedule()),
    user("mart", until("crm")),
    user("mail", "report", "dwh"),
    user("other", "elsewhere"),
)


def test_all_that_need_it_are_listed_with_the_shortest_way() -> None:
    assert ways(impact(NIGHT, "crm")) == {
        "dwh": "crm:wait_for",
        "mart": "crm:until",
        "report": "crm:wait_for dwh:after",
        "mail": "crm:wait_for dwh:wait_for",
    }
    assert impact(NIGHT, "mail").downstream == []


def test_without_a_supposition_nothing_is_known_of_the_deadlines() -> None:
    found = impact(NIGHT, "crm")
    assert set(missed(found).values()) == {None}
    assert {each.workflow: each.deadline for each in found.downstream} == {
        "dwh": moment("06:00"),
        "mart": moment("06:00"),
        "report": None,
        "mail": moment("06:00"),
    }
    assert missed(impact(NIGHT, "crm", chances={"dwh": 0.3}))["dwh"] == 0.3


def test_a_delay_beyond_the_deadline_certainly_misses_it() -> None:
    assert missed(impact(NIGHT, "crm", late=timedelta(hours=5))) == {
        "dwh": 1.0,
        "mart": None,
        "report": None,
        "mail": 1.0,
    }
    assert missed(impact(NIGHT, "crm", late=timedelta(hours=4)))["dwh"] is None, "at 06:00 it can be met, to the second"


def test_a_failure_misses_all_that_wait_for_it() -> None:
    assert missed(impact(NIGHT, "crm", failed=True)) == {"dwh": 1.0, "mart": None, "report": None, "mail": 1.0}


def test_the_delay_counts_from_when_the_run_was_due_and_is_not_over_before_now() -> None:
    close = facts(CRM, user("dwh", "crm", hours=-1.5), user("next", "crm", hours=0.5))
    assert missed(impact(close, "crm", late=timedelta(minutes=1))) == {"dwh": 1.0, "next": None}


def test_who_has_its_success_already_is_not_late() -> None:
    done = workflow("crm", state=state("crm"))
    found = impact(facts(done, user("dwh", "crm")), "crm", failed=True)
    assert missed(found) == {"dwh": 1.0}
    assert found.downstream[0].deadline == moment("30 06:00"), "tonight's is met; tomorrow's is not"


def test_another_run_in_time_may_give_what_is_needed() -> None:
    hourly = workflow("crm", file=file(schedule=Schedule(crons=("0 * * * *",))), state=state("crm", began="28 02:00"))
    assert missed(impact(facts(hourly, user("dwh", "crm")), "crm", failed=True)) == {"dwh": None}


def test_with_scope_due_the_run_whose_due_time_counts_is_affected() -> None:
    due = Need(workflow="crm", by=Dependency.WAIT_FOR, scope="due")
    assert missed(impact(facts(CRM, user("dwh", due)), "crm", late=timedelta(hours=5))) == {"dwh": 1.0}
    weekly = workflow("crm", file=file(schedule=Schedule(crons=("0 2 * * 6",))), state=state("crm", began="28 02:00"))
    found = impact(facts(weekly, user("dwh", due)), "crm", failed=True)
    assert found.downstream[0].deadline == moment("29 06:00") + timedelta(days=6), "that of Saturday"


def test_any_success_of_any_time_is_no_need_any_more() -> None:
    anything = Need(workflow="crm", by=Dependency.WAIT_FOR, scope="any")
    assert impact(facts(CRM, user("dwh", anything)), "crm").downstream == []
    assert ways(impact(facts(workflow("crm"), user("dwh", anything)), "crm")) == {"dwh": "crm:wait_for"}


def test_other_scopes_and_unknown_schedules_decide_nothing() -> None:
    within = Need(workflow="crm", by=Dependency.WAIT_FOR, scope="within", within_seconds=3600)
    assert missed(impact(facts(CRM, user("dwh", within)), "crm", failed=True)) == {"dwh": None}
    by_hand = workflow("crm", file=file(schedule=Schedule()), state=state("crm", began="28 02:00", ended="28 02:30"))
    night = facts(by_hand, user("dwh", "crm"))
    assert missed(impact(night, "crm", late=timedelta(hours=9))) == {"dwh": None}
    assert missed(impact(night, "crm", failed=True)) == {"dwh": 1.0}


def test_a_cycle_and_a_long_chain_come_to_an_end() -> None:
    circle: Facts = facts(CRM, user("a", "crm", "b"), user("b", "a"))
    assert missed(impact(circle, "crm", late=timedelta(days=1))) == {"a": 1.0, "b": 1.0}
    assert ways(impact(circle, "a")) == {"b": "a:wait_for"}
    chain = facts(CRM, user("w0", "crm"), *(user(f"w{n + 1}", f"w{n}") for n in range(300)))
    assert len(impact(chain, "crm", late=timedelta(days=1)).downstream) == 301


def test_a_workflow_without_deadline_is_affected_all_the_same() -> None:
    found = impact(facts(CRM, user("dwh", "crm", hours=None)), "crm", failed=True)
    assert [(each.deadline, each.miss_probability) for each in found.downstream] == [(None, None)]


def test_a_run_of_its_source_that_comes_before_the_deadline_of_the_last_in_a_chain_may_save_it() -> None:
    # At midnight all three are due. The one in the middle has had today's success, so its next run is tomorrow's.
    midnight = Schedule(crons=("0 0 * * *",))
    late = {"began": "28 00:00", "ended": "28 00:30"}
    crm = workflow("crm", file=file(schedule=midnight), state=state("crm", **late))
    done = {"began": "29 00:00", "ended": "29 00:30"}
    dwh = workflow("dwh", file=file("crm", schedule=midnight), state=state("dwh", **done))
    mart = workflow(
        "mart", file=file("dwh", schedule=midnight, deadline=timedelta(hours=1)), state=state("mart", **late)
    )
    found = impact(facts(crm, dwh, mart, now=moment("03:00")), "crm", failed=True)
    assert missed(found) == {"dwh": None, "mart": None}, "crm may succeed at 00:10 tomorrow"
