# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The process of a task asks Airflow once for the connection of Redis: each time is a call of Airflow's API."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import Connection
from airflow.sdk.execution_time import task_runner

from batchy_provider.hooks import batchy
from batchy_provider.hooks.batchy import BatchyHook


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of the connections that Airflow was asked for."""
    found: list[str] = []

    def get_connection(conn_id: str) -> Any:
        found.append(conn_id)
        return Connection(conn_id=conn_id, conn_type="redis", host=f"host{len(found)}")

    monkeypatch.setattr(BatchyHook, "get_connection", staticmethod(get_connection))
    monkeypatch.setattr(batchy, "_known", {})
    return found


@pytest.fixture
def in_a_task(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with socket.socket() as to_supervisor:
        monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", SimpleNamespace(socket=to_supervisor), raising=False)
        yield


def _host(conn_id: str = "night") -> str:
    return BatchyHook(conn_id).get_address().hosts[0][0]


@pytest.mark.usefixtures("in_a_task")
def test_a_task_asks_once_for_each_connection(asked: list[str]) -> None:
    assert [_host(), _host(), _host("other"), _host()] == ["host1", "host1", "host2", "host1"]
    assert asked == ["night", "other"]


@pytest.mark.usefixtures("in_a_task")
def test_a_task_that_runs_long_asks_again(asked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    _host()
    monkeypatch.setattr(batchy, "_KNOWN_SECONDS", -1.0)
    assert _host() == "host2"


def test_other_programs_see_a_change_at_once(asked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(task_runner, "SUPERVISOR_COMMS", raising=False)
    assert [_host(), _host()] == ["host1", "host2"]
