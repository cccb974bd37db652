# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""An Airflow connection to an empty Valkey, and the modes of the sensor."""

from __future__ import annotations

from typing import Any

import pytest
from redis import Redis

from batchy_provider.state.store import Store

MODES: list[dict[str, Any]] = [
    {"deferrable": True},
    {"deferrable": False, "mode": "poke"},
    {"deferrable": False, "mode": "reschedule"},
]


@pytest.fixture(autouse=True)
def _connection(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_REDIS_DEFAULT", redis_url)


@pytest.fixture
def store(redis_client: Redis) -> Store:
    return Store(redis_client)


@pytest.fixture(params=MODES, ids=["deferrable", "poke", "reschedule"])
def mode(request: pytest.FixtureRequest) -> dict[str, Any]:
    return dict(request.param)
