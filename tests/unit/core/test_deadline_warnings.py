# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""When a warning is given, when its danger is over, and who hears of it: once, also if an evaluator is killed."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchy_provider.core.deadline_warnings import (
    Alarm,
    DeadlineWarning,
    NotifierCall,
    Outlook,
    OverCode,
    WarningState,
    decide,
    is_new_danger,
)
from batchy_provider.core.warning_deliveries import LEASE, begin, claim, finish, pending, release

NOW = datetime(2026, 11, 30, 3, 0)
DEADLINE = datetime(2026, 11, 30, 6, 0)
RUN = "2026-11-30T02:00:00.000000"
PAGER = NotifierCall("my.Pager", {"text": "late"})
MAIL = NotifierCall("my.Mail")
ALARM = Alarm(chance=0.8, scope="prod/batchy_warnings", text="sales will probably miss it", notifiers=(PAGER, MAIL))


def outlook(chance: float | None = None, *, minutes: float = 0, over: OverCode | None = None) -> Outlook:
    at = NOW + timedelta(minutes=minutes)
    return Outlook(run=RUN, deadline=DEADLINE, at=at, chance=chance, over=over, missed=at >= DEADLINE)


def step(previous: DeadlineWarning | None, seen: Outlook, alarm: Alarm = ALARM) -> DeadlineWarning | None:
    return decide(previous, seen, alarm, seen.at)


def danger() -> DeadlineWarning:
    found = step(None, outlook(0.9))
    assert found is not None
    return found


def delivered(warning: DeadlineWarning, by: str = "one", minutes: float = 0) -> DeadlineWarning:
    """Deliver the message of a warning to all its notifiers."""
    assert warning.message is not None
    kind, now = warning.message.kind, NOW + timedelta(minutes=minutes)
    for index in pending(warning):
        begun = begin(index, by, warning, now)
        assert begun is not None
        done = finish(index, by, kind, True, begun, now)
        assert done is not None
        warning = done
    return warning


def test_a_likely_miss_is_a_danger_with_a_message_to_all() -> None:
    assert step(None, outlook(0.79)) is None
    found = danger()
    assert (found.state, found.since, found.chance) == (WarningState.DANGER, NOW, 0.9)
    assert (found.text, found.scope) == (ALARM.text, ALARM.scope)
    assert pending(found) == [0, 1]


def test_what_is_not_known_changes_nothing() -> None:
    assert step(None, outlook(None)) is None
    found = step(danger(), outlook(None, minutes=5))
    assert found is not None
    assert (found.state, found.chance) == (WarningState.DANGER, 0.9)


def test_the_danger_ends_well_below_the_threshold_so_nothing_flaps() -> None:
    warning = delivered(danger())
    for minutes, chance in ((5, 0.79), (10, 0.81), (15, 0.61), (20, 0.95)):
        again = step(warning, outlook(chance, minutes=minutes))
        assert again is not None
        assert (again.state, again.message) == (WarningState.DANGER, None)
        warning = again
    over = step(warning, outlook(0.6, minutes=25))
    assert over is not None
    assert (over.state, over.over, pending(over)) == (WarningState.OVER, OverCode.CHANCE_FELL, [0, 1])


@pytest.mark.parametrize("code", OverCode)
def test_the_danger_is_over_once(code: OverCode) -> None:
    assert step(None, outlook(over=code)) is None
    over = step(delivered(danger()), outlook(over=code, minutes=5))
    assert over is not None
    assert (over.state, over.over) == (WarningState.OVER, code)
    assert step(delivered(over), outlook(over=code, minutes=10)) is None


def test_a_miss_that_happens_is_not_over_and_has_no_message() -> None:
    for before in (danger(), delivered(danger())):
        missed = step(before, outlook(0.9, minutes=180))
        assert missed is not None
        assert (missed.state, missed.message, missed.over) == (WarningState.MISSED, None, None)
    assert step(None, outlook(0.9, minutes=180)) is None


def test_who_was_not_told_of_the_danger_is_not_told_of_its_end() -> None:
    untold = step(danger(), outlook(over=OverCode.ON_HOLD, minutes=5))
    assert untold is not None
    assert untold.message is None

    first = begin(0, "one", danger(), NOW)
    assert first is not None
    one_told = finish(0, "one", WarningState.DANGER, True, first, NOW)
    assert one_told is not None
    half = step(one_told, outlook(over=OverCode.ON_HOLD, minutes=5))
    assert half is not None
    assert pending(half) == [0]

    unsure = step(first, outlook(over=OverCode.ON_HOLD, minutes=5))
    assert unsure is not None
    assert pending(unsure) == [0], "it was begun, and nobody knows whether the notifier has sent"


def test_a_second_danger_is_told_again_but_not_to_who_missed_the_end_of_the_first() -> None:
    over = step(delivered(danger()), outlook(0.1, minutes=5))
    assert over is not None
    begun = begin(1, "one", over, NOW)
    assert begun is not None
    half = finish(1, "one", WarningState.OVER, True, begun, NOW)
    assert half is not None
    again = step(half, outlook(0.9, minutes=10))
    assert again is not None
    assert (again.state, pending(again), again.told) == (WarningState.DANGER, [1], {0})
    end = step(delivered(again), outlook(0.1, minutes=15))
    assert end is not None
    assert pending(end) == [0, 1]


def test_an_old_outlook_changes_nothing() -> None:
    warning = delivered(danger())
    over = step(warning, outlook(0.1, minutes=5))
    assert step(over, outlook(0.95, minutes=4)) is None, "it is older than the one that decided"
    late = outlook(0.95)
    assert decide(None, late, ALARM, late.at + timedelta(minutes=10)) is None, "its evaluator was asleep"


def test_of_two_evaluators_one_has_the_message() -> None:
    first = claim(danger(), "one", NOW)
    assert first is not None
    assert claim(first, "two", NOW + LEASE / 2) is None
    assert begin(0, "two", first, NOW + LEASE / 2) is None
    taken = claim(first, "two", NOW + LEASE)
    assert taken is not None
    assert begin(0, "one", taken, NOW + LEASE) is None
    assert finish(0, "one", WarningState.DANGER, True, taken, NOW + LEASE) is None
    assert release("one", taken, NOW) is None


def test_a_notifier_that_fails_is_called_again_and_the_others_are_not() -> None:
    warning = danger()
    for index, succeeded in ((0, False), (1, True)):
        begun = begin(index, "one", warning, NOW)
        assert begun is not None
        done = finish(index, "one", WarningState.DANGER, succeeded, begun, NOW)
        assert done is not None
        warning = done
    released = release("one", warning, NOW)
    assert released is not None
    assert pending(released) == [0]
    assert claim(released, "two", NOW) is not None, "the next evaluation need not wait for the lease"


def test_nobody_is_warned_after_the_deadline() -> None:
    assert claim(danger(), "one", DEADLINE) is None
    over = step(delivered(danger()), outlook(over=OverCode.CLOSED_IN_TIME, minutes=5))
    assert over is not None
    assert claim(over, "one", DEADLINE) is not None, "its end is good news at any time"


def test_a_warning_is_forgotten_a_day_after_its_deadline() -> None:
    over = step(delivered(danger()), outlook(0.1, minutes=5))
    assert over is not None
    late = DEADLINE + timedelta(days=1, minutes=1)
    assert not over.is_expired(late), "its message is not delivered"
    assert delivered(over).is_expired(late)
    assert not danger().is_expired(late)


class Phones:
    """Two notifiers, a stored warning, and evaluators that may die anywhere."""

    def __init__(self) -> None:
        self.stored: DeadlineWarning | None = None
        self.heard: dict[int, list[WarningState]] = {0: [], 1: []}
        self.unsure: set[int] = set()

    def evaluate(self, by: str, seen: Outlook, dies_after: int) -> None:
        """Evaluate and deliver; each write and each call is a step, and the evaluator dies after some."""
        left = dies_after
        decided = decide(self.stored, seen, ALARM, seen.at)
        changed = decided or self.stored
        if left == 0 or changed is None:
            return
        self.stored = claim(changed, by, seen.at) or changed
        message = self.stored.message
        if message is None or message.by != by:
            return
        for index in pending(self.stored):
            for what in ("begin", "call", "finish"):
                left -= 1
                if left <= 0:
                    if what != "begin":
                        self.unsure.add(index)  # it was begun, and nobody knows whether the notifier has sent
                    return
                if what == "begin":
                    self.stored = begin(index, by, self.stored, seen.at) or self.stored
                elif what == "call":
                    self.heard[index].append(message.kind)
                else:
                    self.stored = finish(index, by, message.kind, True, self.stored, seen.at) or self.stored


SEEN = st.tuples(
    st.one_of(st.none(), st.floats(0, 1), st.sampled_from([OverCode.ON_HOLD, OverCode.NO_RUN])),
    st.integers(1, 9),
)


@given(st.lists(SEEN, max_size=12))
def test_each_notifier_hears_danger_and_over_in_turns_wherever_evaluators_die(
    seen: list[tuple[float | OverCode | None, int]],
) -> None:
    """After the last death, one more evaluation completes what is due: nothing is lost."""
    phones = Phones()
    for number, (what, dies_after) in enumerate(seen):
        found = outlook(minutes=6 * number)
        found = replace(found, over=what) if isinstance(what, OverCode) else replace(found, chance=what)
        phones.evaluate(f"evaluator {number}", found, dies_after)
    last = outlook(None, minutes=6 * len(seen))
    phones.evaluate("the last", last, 99)
    stands = phones.stored is not None and phones.stored.stands
    for index, heard in phones.heard.items():
        if index not in phones.unsure:
            turns = [WarningState.DANGER, WarningState.OVER] * len(heard)
            assert heard == turns[: len(heard)]
        believes = bool(heard) and heard[-1] is WarningState.DANGER
        assert believes == stands


def test_is_new_danger_asks_for_no_reasons_in_vain() -> None:
    assert is_new_danger(None, outlook(0.8), 0.8)
    assert not is_new_danger(danger(), outlook(0.9, minutes=5), 0.8)
    assert not is_new_danger(None, outlook(0.9, over=OverCode.PAUSED), 0.8)
