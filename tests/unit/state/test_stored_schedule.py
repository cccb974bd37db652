# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""What ``wf:meta`` remembers of a schedule: plain crons as before, and calendars in a form of their own."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import pytest
from redis import Redis

from batchy_provider.core.calendars import Calendar
from batchy_provider.core.schedules import DayRule, Days, Schedule
from batchy_provider.core.snapshot import StoredConfig
from batchy_provider.core.values import WorkflowConfig
from batchy_provider.exceptions import StateError
from batchy_provider.state.keys import Keys
from batchy_provider.state.store import Store
from batchy_provider.state.stored_config import config_form, read_config

OLD = {"timezone": "Europe/Paris", "order": ["a"], "disabled": [], "infa": {}}
TARGET = Calendar(name="target2", add=frozenset({date(2026, 4, 3)}))
WITH_CALENDAR = Schedule(
    crons=("0 2 * * *",), timezone="Europe/Paris", calendar=TARGET, on=DayRule(days=Days.BUSINESS_DAYS)
)


def test_what_older_versions_wrote_is_read() -> None:
    assert read_config(OLD).schedule.known is False
    found = read_config({**OLD, "crons": ["0 2 * * *", "0 14 * * *"]}).schedule
    assert found == Schedule(crons=("0 2 * * *", "0 14 * * *"), timezone="Europe/Paris")


def test_crons_alone_are_written_as_older_versions_read_them() -> None:
    plain = Schedule(crons=("0 2 * * *",), timezone="Europe/Paris")
    form = config_form(StoredConfig(timezone="Europe/Paris", order=("a",), schedule=plain))
    assert form == {**OLD, "crons": ["0 2 * * *"]}
    assert config_form(StoredConfig(timezone="Europe/Paris", order=("a",))) == OLD


@pytest.mark.parametrize("schedule", [WITH_CALENDAR, Schedule(crons=("0 2 * * *",), timezone="Asia/Tokyo")])
def test_another_schedule_has_its_own_form(schedule: Schedule) -> None:
    config = StoredConfig(timezone="Europe/Paris", schedule=schedule)
    form = json.loads(json.dumps(config_form(config)))
    assert "crons" not in form, "an older version would wait on days on which the workflow is not due"
    assert read_config(form) == config


def test_redis_keeps_it_and_a_damaged_one_is_named(redis_client: Redis) -> None:
    store = Store(redis_client)
    config = WorkflowConfig(name="wf", jobs={"a": {}}, timezone="Europe/Paris", schedule=WITH_CALENDAR)
    store.load(config, by="test")
    key = Keys("wf").meta
    stored: dict[str, Any] = json.loads(redis_client.hget(key, "config") or "")
    assert stored["schedule"]["calendar"] == {"name": "target2", "add": ["2026-04-03"]}
    stored["schedule"]["calendar"]["moons"] = 2
    redis_client.hset(key, "config", json.dumps(stored))
    with pytest.raises(StateError, match=r"a calendar with 'moons', which this version of batchy_provider"):
        store.status("wf")
