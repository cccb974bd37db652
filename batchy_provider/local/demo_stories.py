# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""What the demo invents: how long each job takes, what grows, what fails, and what people write about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import time


@dataclass(frozen=True, slots=True)
class Failure:
    """A night in which a job fails.

    :param stderr: what its script writes.
    :param note: what Ben writes about it.
    :param ack: Ann acknowledges it with this text.
    :param again: somebody runs it again after so many hours, with success.
    """

    job: str
    stderr: str
    note: str | None = None
    ack: str | None = None
    again: float | None = None


@dataclass(frozen=True, slots=True)
class Story:
    """What happens to one workflow.

    :param at: local time of its schedule.
    :param minutes: job → how long it takes in the first night.
    :param growth: by what it takes longer in the last night than in the first.
    :param weekdays: weekday (Monday is 0) → by what it takes longer.
    :param spread: how much the durations of two nights differ.
    :param needs: workflows whose end it waits for.
    :param runs_on: the weekdays on which it is due.
    :param failures: so many nights ago → what fails.
    :param skipped_day: so many nights ago a person moved the window on by a day: that day is a gap.
    """

    at: time
    minutes: Mapping[str, float]
    growth: float = 1.0
    weekdays: Mapping[int, float] = field(default_factory=dict)
    spread: float = 0.08
    needs: tuple[str, ...] = ()
    runs_on: range = range(7)
    failures: Mapping[int, Failure] = field(default_factory=dict)
    skipped_day: int | None = None


_DISK = "psql: connected to db7\nCOPY stock FROM stdin\nERROR: could not extend file: No space left on device\n"
STORIES: Mapping[str, Story] = {
    "demo_bank": Story(
        time(0, 30),
        {"fetch": 14, "check": 3},
        spread=0.35,
        failures={
            41: Failure(
                "fetch", "curl: (28) Operation timed out\n", note="the bank had maintenance until 08:00", again=8
            )
        },
    ),
    "demo_orders": Story(
        time(1),
        {"extract": 25, "load": 38, "index": 9},
        growth=1.5,
        weekdays={0: 1.45},
        failures={
            12: Failure(
                "load",
                'duplicate key value violates unique constraint "orders_pk"\n',
                ack="double delivery, ticket 4711",
                again=6,
            )
        },
    ),
    "demo_stock": Story(
        time(1, 30),
        {"count": 6, "load": 11},
        failures={
            1: Failure("load", _DISK, note="db7 is full again; the disk is ordered", ack="known, see the note"),
            0: Failure("load", _DISK),
        },
        skipped_day=33,
    ),
    "demo_ledger": Story(
        time(2),
        {"post": 62, "balance": 34},
        growth=1.25,
        weekdays={0: 1.2},
        spread=0.12,
        needs=("demo_bank", "demo_orders"),
    ),
    "demo_report": Story(time(4), {"render": 18}, spread=0.2, needs=("demo_ledger",)),
    "demo_mail": Story(time(5), {"send": 7}, needs=("demo_orders",), runs_on=range(5)),
}
