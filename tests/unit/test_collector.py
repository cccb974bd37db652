# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Python's search for cycles is as it was after each of its pauses, however they end and overlap."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack

import pytest

from batchy_provider import collector

Pause = Callable[[], AbstractContextManager[None]]
PAUSES: tuple[Pause, ...] = (collector.paused, collector.seldom, collector.only_new)
STATES = ((True, (700, 10, 10)), (True, (0, 10, 10)), (True, (100_000, 10, 10)), (False, (700, 10, 10)))


def now() -> tuple[bool, tuple[int, int, int], int]:
    return gc.isenabled(), gc.get_threshold(), gc.get_freeze_count()


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    was_enabled, thresholds, _ = now()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)
    (gc.enable if was_enabled else gc.disable)()


def begin(state: tuple[bool, tuple[int, int, int]]) -> None:
    is_enabled, thresholds = state
    gc.set_threshold(*thresholds)
    (gc.enable if is_enabled else gc.disable)()


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("pause", PAUSES)
def test_an_error_leaves_the_search_as_it_was(pause: Pause, state: tuple[bool, tuple[int, int, int]]) -> None:
    begin(state)
    before = now()
    with pytest.raises(ZeroDivisionError), pause():
        raise ZeroDivisionError
    assert now() == before


@pytest.mark.parametrize("outer", PAUSES)
@pytest.mark.parametrize("inner", PAUSES)
def test_a_pause_within_a_pause_leaves_the_search_as_it_was(outer: Pause, inner: Pause) -> None:
    begin(STATES[0])
    before = now()
    with outer(), inner():
        pass
    assert now() == before


def test_pauses_of_two_threads_that_overlap_leave_the_search_as_it_was() -> None:
    begin(STATES[0])
    before = now()
    is_inside, may_end = threading.Event(), threading.Event()

    def other() -> None:
        with collector.only_new():
            is_inside.set()
            assert may_end.wait(30)

    thread = threading.Thread(target=other)
    with ExitStack() as stack:
        stack.enter_context(collector.only_new())
        thread.start()
        assert is_inside.wait(30)
    may_end.set()
    thread.join()
    assert now() == before


class Thing:
    """An object in a cycle, which only the search can remove."""

    def __init__(self) -> None:
        self.me = self


def test_only_new_objects_are_searched_and_the_others_later() -> None:
    begin(STATES[0])
    old = weakref.ref(Thing())
    with collector.only_new():
        new = weakref.ref(Thing())
        gc.collect()
        assert new() is None
        assert old() is not None
    gc.collect()
    assert old() is None


def test_what_a_program_has_put_aside_itself_stays_there() -> None:
    begin(STATES[0])
    gc.freeze()
    before = gc.get_freeze_count()
    with collector.only_new():
        pass
    assert before - 50 <= gc.get_freeze_count() <= before  # Python drops an object here and there meanwhile
