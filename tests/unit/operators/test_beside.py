# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Two questions at the same time have the answers and the errors that they have one after the other."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from batchy_provider.operators import beside, states_ahead
from batchy_provider.operators.beside import answer_beside

Clock = Callable[[float], None]


@pytest.fixture
def pass_time(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Returns what lets seconds pass."""
    now = [1000.0]
    clock = SimpleNamespace(monotonic=lambda: now[0])
    monkeypatch.setattr(beside, "time", clock)
    monkeypatch.setattr(states_ahead, "time", clock)

    def go_on(seconds: float) -> None:
        now[0] += seconds

    return go_on


def _nothing() -> None:
    pass


def test_both_go_on_at_the_same_time() -> None:
    asked, worked = threading.Event(), threading.Event()

    def question() -> int:
        asked.set()
        assert worked.wait(30)
        return 7

    def work() -> None:
        assert asked.wait(30)
        worked.set()

    assert answer_beside(question, work) == 7


def test_the_question_sees_the_context_of_the_task() -> None:
    name = contextvars.ContextVar("name", default="")
    name.set("sales")
    assert answer_beside(name.get, _nothing) == "sales"


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3), KeyboardInterrupt()])
def test_an_error_of_the_question_comes_after_the_work(error: BaseException) -> None:
    done: list[str] = []

    def question() -> None:
        raise error

    with pytest.raises(type(error)) as found:
        answer_beside(question, lambda: done.append("work"))
    assert found.value is error
    assert done == ["work"]


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()])
def test_after_an_error_of_the_work_nothing_waits_for_the_answer(error: BaseException) -> None:
    end = threading.Event()

    def work() -> None:
        raise error

    with pytest.raises(type(error)):
        answer_beside(lambda: end.wait(30), work)
    (thread,) = (each for each in threading.enumerate() if each.name == "batchy-question")
    assert thread.daemon, "the end of the process would wait for it"
    end.set()
    thread.join(30)
    assert not thread.is_alive()


def test_without_a_further_thread_one_follows_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container may have a limit of processes, which counts threads."""
    order: list[str] = []

    def refused(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    def question() -> str:
        order.append("question")
        return "open"

    monkeypatch.setattr(threading.Thread, "start", refused)
    assert answer_beside(question, lambda: order.append("work")) == "open"
    assert order == ["question", "work"]


@pytest.mark.parametrize(("seconds", "answer"), [(4.9, "first"), (5.0, "second"), (60.0, "second")])
def test_after_long_work_the_question_is_asked_again(pass_time: Clock, seconds: float, answer: str) -> None:
    """Else a job starts in a batch that another run took over while Airflow's API was restarted."""
    answers = iter(["first", "second"])
    asked = threading.Event()

    def question() -> str:
        asked.set()
        return next(answers)

    def work() -> None:
        assert asked.wait(30)
        pass_time(seconds)

    assert answer_beside(question, work) == answer


@pytest.mark.parametrize(("seconds", "is_fresh"), [(0.0, True), (4.9, True), (5.0, False)])
def test_how_old_states_are_counts_from_the_question(
    pass_time: Clock, monkeypatch: pytest.MonkeyPatch, seconds: float, is_fresh: bool
) -> None:
    """An answer that took long may tell how tasks were when Airflow was asked."""
    states: Any = {"extract": {"run": "success"}}

    def answer(*_: Any) -> Any:
        pass_time(seconds)
        return states

    monkeypatch.setattr(states_ahead, "states_of", answer)
    ahead = states_ahead.ask_ahead(SimpleNamespace(dag_id="sales", run_id="run"), ["extract"])
    assert ahead is not None
    assert ahead.of(["extract"]) == (states if is_fresh else None)
    assert ahead.of([]) is None
    assert ahead.of(["extract", "load"]) is None
