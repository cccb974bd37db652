# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""What all faces of the services answer."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from batchy_provider.exceptions import BatchyError
from batchy_provider.services.batch_history import HistoryQuery
from batchy_provider.services.composition import Services


def faces(services: Services, names: tuple[str, ...], now: datetime) -> dict[str, Any]:
    """Return what all faces answer."""
    found: dict[str, Any] = {}

    def ask(face: str, question: Callable[[], Any]) -> None:
        try:
            found[face] = question()
        except BatchyError as error:
            found[face] = f"{type(error).__name__}: {error}"

    span = (now - timedelta(hours=30), now + timedelta(hours=20))
    ask("list", services.workflows.summaries)
    ask("why all", services.why.all)
    ask("plan", services.plan.all)
    ask("plan 48", lambda: services.plan.all(hours=48))
    ask("gaps", services.gaps.all)
    ask("gaps merged", services.gaps.merged)
    ask("history", lambda: services.history.find(HistoryQuery(), limit=100).rows)
    ask("tonight", lambda: services.tonight.show(span))
    ask("metrics", services.metrics.exposition)
    ask("warnings", services.warnings.standing)
    ask("failures", lambda: services.why.failures(names))
    ask("starts", lambda: services.workflows.next_starts(names))
    for name in names:
        ask(f"status {name}", lambda name=name: services.workflows.get(name))
        ask(f"why {name}", lambda name=name: services.why.of(name))
        ask(f"plan {name}", lambda name=name: services.plan.of([name]))
        ask(f"gaps {name}", lambda name=name: services.gaps.of(name))
        ask(f"durations {name}", lambda name=name: services.durations.of(name))
        ask(f"schedule {name}", lambda name=name: services.calendar_days.of(name, now=now))
        ask(f"impact {name}", lambda name=name: services.why.impact(name))
    return found
