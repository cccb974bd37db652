# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Each code of an answer, from the facts that lead to it. The text names what a person looks for."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest
from told_facts import NIGHTLY, NOW, at, file, moment, state
from why_cases import BEFORE, CASES, OPEN, told
from why_cases_in_airflow import CASES_IN_AIRFLOW

from batchy_provider.core.calendars import Calendar
from batchy_provider.core.schedules import LeftOut, Schedule
from batchy_provider.plan.airflow_facts import AirflowFacts
from batchy_provider.plan.why import why
from batchy_provider.plan.why_codes import WhyCode
from batchy_provider.plan.why_facts import Facts

ALL = {**CASES, **CASES_IN_AIRFLOW}
OTHERS = {
    WhyCode.WAIT_CYCLE: "test_why_chains",
    WhyCode.NOT_DISCLOSED: "test_why_routes",
}


@pytest.mark.parametrize(
    ("code", "found", "text"),
    [(code, found, text) for code, cases in ALL.items() for found, text in cases],
    ids=[f"{code}-{number}" for code, cases in ALL.items() for number, _ in enumerate(cases)],
)
def test_each_code_has_facts_that_lead_to_it(code: WhyCode, found: Facts, text: str) -> None:
    answer = why(found, "sales")
    assert (answer.workflow, answer.code) == ("sales", code), answer.text
    assert text in answer.chain[0].text


def test_no_code_is_without_a_case() -> None:
    assert {*ALL, *OTHERS} == {*WhyCode}
    assert not ALL.keys() & OTHERS.keys()


def test_each_code_is_explained_in_the_documentation() -> None:
    page = (Path(__file__).parents[3] / "docs" / "howto" / "why.md").read_text()
    assert [code for code in [*WhyCode] if f"`{code}`" not in page] == []


def test_each_text_begins_with_what_it_is_about_and_has_no_empty_parts() -> None:
    for found, _ in (case for cases in ALL.values() for case in cases):
        text = why(found, "sales").text
        assert "sales" in text
        assert "None" not in text
        assert "  " not in text


def test_a_holiday_is_named_with_the_next_due_time(monkeypatch: pytest.MonkeyPatch) -> None:
    left_out = LeftOut(date(2026, 11, 29), "Advent, shop")
    monkeypatch.setattr(Schedule, "left_out", lambda *_: iter([left_out]))
    monkeypatch.setattr(Schedule, "last_fire", lambda *_: moment("28 02:00"))
    schedule = replace(NIGHTLY, calendar=Calendar(name="shop"))
    answer = why(told(BEFORE, file=file(schedule=schedule)), "sales")
    assert answer.code is WhyCode.NOT_DUE
    assert "not due on 2026-11-29: Advent, shop; it is due next at" in answer.text
    # Yesterday's failure matters more than that today is a holiday.
    assert (
        why(told(state("sales", "failed", began="28 02:00"), file=file(schedule=schedule)), "sales").code
        is WhyCode.FAILED
    )


def test_a_window_that_reaches_beyond_what_was_due_has_done_it() -> None:
    late = state("sales", began="02:40", ended="02:50", record={"due": at("28 02:00")})
    assert why(told(late), "sales").code is WhyCode.DONE
    early = state("sales", began="01:50", ended="02:50", record={"due": at("28 02:00")})
    assert why(told(early), "sales").code is WhyCode.NOT_STARTED, (
        "it ended after the due time, but loaded nothing of it"
    )


@pytest.mark.parametrize("minutes", [0, 1, 59, 60 * 24 * 400])
def test_any_time_since_can_be_said(minutes: int) -> None:
    answer = why(replace(told(OPEN), now=NOW + timedelta(minutes=minutes)), "sales")
    assert answer.code in (WhyCode.RUNNING, WhyCode.HELD_BY_RUN)


def test_what_airflow_does_not_know_is_not_asked_of_it() -> None:
    assert why(told(state("sales"), file=None, airflow=AirflowFacts()), "sales").code is WhyCode.DONE
