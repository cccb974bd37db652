# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Nights of two workflows, of which one waits for the other, and the notifiers that are called about its deadline."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from state_worlds import Clock
from why_nights import write

from batchy_provider.core.deadline_warnings import NotifierCall
from batchy_provider.core.values import CloseRequest, Holder, OpenRequest
from batchy_provider.services.composition import Services
from batchy_provider.services.warning_messages import Delivery
from batchy_provider.state.connections import open_client
from batchy_provider.state.store import Store

SCOPE = "prod/batchy_warnings"
FIRST_NIGHT = datetime(2026, 11, 20, 2, 0)
DEADLINE = {"closed_by": "06:00", "warn": {"chance": 0.8}, "notify": ["my.Pager", "my.Mail"]}
ALL_DANGER = [("my.Pager", "danger"), ("my.Mail", "danger")]
ALL_OVER = [("my.Pager", "over"), ("my.Mail", "over")]


class Night:
    """Two workflows that take an hour each, of which one waits for the other, and what notifiers have heard."""

    def __init__(self, redis_url: str, cfg: Path) -> None:
        self.clock = Clock()
        self.clock.now = FIRST_NIGHT
        self.cfg = cfg
        self.url = redis_url
        self.heard: list[tuple[str, str]] = []
        self.contents: list[dict[str, Any]] = []
        self.services = self.evaluator()
        self.write()

    def evaluator(self) -> Services:
        """Return services of an evaluator of its own."""
        return Services(store=lambda: Store(open_client(self.url), clock=self.clock.read), cfg=self.cfg)

    def write(self, **deadline: Any) -> None:
        write(self.cfg, "crm", schedule="0 2 * * *")
        keys = {"deadline": {**DEADLINE, **deadline}} if deadline.get("notify", True) else {}
        write(self.cfg, "sales", schedule="0 2 * * *", wait_for={"workflow": "crm", "scope": "due"}, **keys)

    def open(self, name: str) -> int:
        due = self.clock.now.replace(hour=2, minute=0, second=0, microsecond=0)
        config = self.services.workflows.config(name)
        assert config is not None
        run = Holder(dag_id=name, run_id=f"{due:%Y-%m-%d}")
        return self.services.store.open(
            name, OpenRequest(config=config, holder=run, due=f"{due:%Y-%m-%dT%H:%M:%S}")
        ).batch_id

    def close(self, name: str, batch_id: int, result: str = "success") -> None:
        self.services.store.close(name, CloseRequest(result=result, batch_id=batch_id))

    def past(self, *names: str, nights: int = 6) -> None:
        """Let nights pass in which each workflow takes an hour, one after the other."""
        for number in range(nights):
            self.clock.now = FIRST_NIGHT + timedelta(days=number)
            for name in names:
                batch = self.open(name)
                self.clock.now += timedelta(minutes=58 + number)
                self.close(name, batch)
        self.tonight(2, 1)

    def tonight(self, hour: int, minute: int = 0) -> None:
        self.clock.now = datetime(2026, 11, 26, hour, minute)

    def take(self, services: Services | None = None, by: str = "one", **more: Any) -> list[Delivery]:
        found = (services or self.services).warnings.evaluate(evaluator=by, scope=SCOPE, **more)
        assert not found.errors
        return found.deliveries

    def call(self, notifier: NotifierCall, warning: dict[str, Any]) -> None:
        self.heard.append((notifier.notifier, warning["kind"]))
        self.contents.append(warning)

    def evaluate(self, by: str = "one", **more: Any) -> list[tuple[str, str]]:
        """Evaluate, deliver, and return what was heard."""
        self.heard.clear()
        for delivery in self.take(by=by, **more):
            assert not self.services.warnings.deliver(delivery, by, self.call)
        return list(self.heard)

    def standing(self) -> list[str]:
        return [each.workflow for each in self.services.warnings.standing()]
