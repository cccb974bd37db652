# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Through all workflows that one waits for, to the root: whatever their number, and in whatever circle they stand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from told_facts import after, facts, file, run_holder, state, unmet, workflow

from batchy_provider.core.schedules import Schedule
from batchy_provider.plan.why import Why, why, why_all
from batchy_provider.plan.why_codes import WhyCode
from batchy_provider.plan.why_facts import WorkflowFacts


def waits(name: str, *others: str) -> WorkflowFacts:
    """Return a workflow that was loaded last night, and waits for others tonight."""
    last_night = state(name, began="28 02:00", ended="28 02:30")
    return workflow(name, file=file(*others), state=last_night, waits=[unmet(each) for each in others])


def failed(name: str) -> WorkflowFacts:
    return workflow(name, state=state(name, "failed"))


def names(found: Why) -> list[str]:
    return [link.workflow for link in found.chain]


def test_the_root_cause_is_last_in_the_chain_and_first_in_the_text() -> None:
    found = why(facts(waits("report", "dwh"), waits("dwh", "erp"), waits("erp", "crm"), failed("crm")), "report")
    assert names(found) == ["report", "dwh", "erp", "crm"]
    assert [link.code for link in found.chain] == [WhyCode.WAITING] * 3 + [WhyCode.FAILED]
    assert found.code is WhyCode.WAITING
    assert found.text.startswith("crm has failed: job load of batch 7")
    assert found.text.endswith("So report waits for crm, through dwh, erp")


def test_of_several_the_one_that_a_person_must_help_is_the_root() -> None:
    night = facts(
        waits("report", "slow", "broken", "idle"),
        workflow("slow", state=state("slow", "open", holder=run_holder())),
        workflow("idle", state=state("idle")),
        waits("broken", "crm"),
        failed("crm"),
    )
    assert names(why(night, "report")) == ["report", "broken", "crm"]


def test_a_cycle_ends_and_is_named() -> None:
    found = why(facts(waits("a", "b"), waits("b", "c"), waits("c", "a")), "a")
    assert names(found) == ["a", "b", "c", "a"]
    assert found.chain[-1].code is WhyCode.WAIT_CYCLE
    assert "none of them can start before the other" in found.text
    assert why(facts(waits("a", "a")), "a").chain[-1].code is WhyCode.WAIT_CYCLE


def test_a_failure_behind_a_cycle_is_found_all_the_same() -> None:
    assert names(why(facts(waits("a", "b"), waits("b", "a", "crm"), failed("crm")), "a")) == ["a", "b", "crm"]


def test_a_chain_may_be_longer_than_the_stack_is_deep() -> None:
    chain = [waits(f"w{number}", f"w{number + 1}") for number in range(2000)]
    found = why(facts(*chain, failed("w2000")), "w0")
    assert len(found.chain) == 2001
    assert found.text.endswith("through w1, w2, w3, w4, w5 and 1994 more")


def test_one_that_is_done_is_not_the_reason_but_that_it_is_not_due_again_is() -> None:
    weekly = file(schedule=Schedule(crons=("0 2 * * 6",)))
    night = facts(waits("report", "crm"), workflow("crm", file=weekly, state=state("crm", began="28 02:00")))
    root = why(night, "report").root
    assert (root.workflow, root.code) == ("crm", WhyCode.NOT_DUE)
    assert "crm is not due before 2026-12-05 02:00 UTC; its last success was at" in root.text
    assert why(night, "crm").code is WhyCode.DONE
    by_hand = workflow("crm", file=file(schedule=Schedule()), state=state("crm"))
    assert why(facts(waits("report", "crm"), by_hand), "report").root.code is WhyCode.NO_SCHEDULE


def test_one_that_nobody_knows_is_a_root() -> None:
    found = why(facts(waits("report", "crn")), "report")
    assert (names(found), found.root.code) == (["report", "crn"], WhyCode.UNKNOWN_WORKFLOW)


@pytest.mark.parametrize("crm", ["open", "failed"])
def test_a_schedule_by_batches_leads_on_as_a_wait_does(crm: str) -> None:
    night = facts(
        workflow("report", file=file(after("crm"), schedule=Schedule()), state=state("report", began="28 03:00")),
        workflow("crm", state=state("crm", crm, holder=run_holder(), last_success="28 02:30")),
    )
    assert names(why(night, "report")) == ["report", "crm"]


def test_after_any_one_success_is_enough() -> None:
    either = file(after("crm"), after("erp"), schedule=Schedule(), after_any=True)
    report = workflow("report", file=either, state=state("report", began="28 03:00", ended="28 04:00"))
    both = [workflow("crm", state=state("crm", "failed")), workflow("erp", state=state("erp", "failed"))]
    assert "one of them has succeeded again" in why(facts(report, *both), "report").chain[0].text
    assert why(facts(report, both[0], workflow("erp", state=state("erp"))), "report").code is WhyCode.DONE


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=20), st.sets(st.integers(0, 7)))
def test_any_graph_has_an_answer_for_each_of_its_workflows(edges: list[tuple[int, int]], broken: set[int]) -> None:
    upstream = {name: [f"w{b}" for a, b in edges if a == name] for name in range(8)}
    night = facts(*(failed(f"w{i}") if i in broken else waits(f"w{i}", *others) for i, others in upstream.items()))
    for name, found in why_all(night, [f"w{i}" for i in range(8)]).items():
        assert found.workflow == name == found.chain[0].workflow
        assert found.text
        assert len(found.chain) <= 9
        for link, following in zip(found.chain, found.chain[1:], strict=False):
            assert following.workflow in upstream[int(link.workflow[1:])]
