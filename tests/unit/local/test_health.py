# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The wait for a healthy Airflow: it ends when all components are healthy, when a program dies, and at the timeout."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from batchy_provider.local.health import check_alive, wait_until_healthy
from batchy_provider.local.process import Service, StackError


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Service]:
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    service = Service("Airflow's api-server", command, log=tmp_path / "log", env={}, watch=lambda pid: None)
    service.start()
    yield service
    service.kill()


def wait(health: Callable[[], Mapping[str, str | None]], server: Service, timeout: float = 30) -> int:
    """Wait, and return how often the API server has answered."""
    answers: list[None] = []
    wait_until_healthy(
        health,
        {"api-server": server},
        report=lambda line: None,
        on_answer=lambda: answers.append(None),
        timeout=timeout,
    )
    return len(answers)


def test_it_ends_when_all_are_healthy(server: Service) -> None:
    states = iter([None, {"scheduler": "unhealthy"}, {"scheduler": "healthy", "triggerer": "healthy"}])

    def health() -> Mapping[str, str | None]:
        state = next(states)
        if state is None:
            raise OSError("not yet")
        return state

    assert wait(health, server) == 2


def test_a_timeout_names_the_program(server: Service) -> None:
    with pytest.raises(StackError, match=r"Airflow's api-server was not ready within 0.1 seconds"):
        wait(lambda: {"api_server": None}, server, timeout=0.1)


def test_a_program_that_dies_ends_it(server: Service) -> None:
    check_alive([server])
    server.kill()
    with pytest.raises(StackError, match="Airflow's api-server has died"):
        wait(lambda: {"api_server": None}, server)
