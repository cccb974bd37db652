# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Warnings that no file asks for any more, where the DAG that evaluates deadlines is gone."""

from __future__ import annotations

import logging

import pytest
from warned_nights import ALL_DANGER, Night


@pytest.fixture
def warned(late: Night) -> Night:
    """A warning stands since 5:20, and nobody evaluates after that."""
    late.tonight(5, 20)
    assert late.evaluate() == ALL_DANGER
    late.tonight(5, 51)
    return late


@pytest.mark.parametrize("change", ["warn", "deadline", "gone"])
def test_one_that_nobody_asks_for_ends_once_with_its_reason(
    warned: Night, change: str, caplog: pytest.LogCaptureFixture
) -> None:
    if change == "gone":
        (warned.cfg / "sales.yaml").unlink()
    else:
        warned.write(**({"warn": False} if change == "warn" else {"notify": None}))
    with caplog.at_level(logging.INFO):
        (text,) = warned.services.warnings.end_abandoned()
    assert text.startswith("The danger is over for the deadline of sales at 2026-11-26 06:00")
    assert text.endswith("its file does not ask for this warning any more")
    assert text in caplog.text
    assert warned.services.warnings.end_abandoned() == []
    assert warned.standing() == []


def test_who_only_looks_ends_it_too(warned: Night) -> None:
    warned.write(warn=False)
    assert warned.standing() == []
    assert warned.services.warnings.end_abandoned() == [], "that was said"


def test_one_that_an_evaluator_still_sees_is_left_to_it(warned: Night) -> None:
    """Another Airflow may have the file, and this one a folder without it."""
    warned.tonight(5, 50)
    warned.write(warn=False)
    assert warned.services.warnings.end_abandoned() == []
    assert warned.standing() == ["sales"]


def test_a_file_that_asks_or_cannot_be_read_changes_nothing(warned: Night) -> None:
    assert warned.services.warnings.end_abandoned() == [], "its DAG may be paused"
    (warned.cfg / "sales.yaml").write_text("jobs: {load: {bsh: x}}")
    assert warned.services.warnings.end_abandoned() == []
    (warned.cfg / "sales.yaml").unlink()
    (warned.cfg / "crm.yaml").unlink()
    assert warned.services.warnings.end_abandoned() == []
    assert warned.standing() == ["sales"]


def test_one_whose_deadline_has_passed_ends_without_a_word(warned: Night) -> None:
    warned.write(warn=False)
    warned.tonight(7)
    assert warned.services.warnings.end_abandoned() == []
    assert warned.standing() == []
    warned.write()
    warned.tonight(5, 52)
    assert warned.evaluate() == ALL_DANGER, "nothing of it is left"


def test_it_comes_back_if_a_file_asks_again(warned: Night) -> None:
    warned.write(warn=False)
    assert warned.standing() == []
    warned.write()
    assert warned.evaluate() == ALL_DANGER
