# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The watchdog stops a script whose supervisor dies, or whose batch someone else closes as failed."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException
from bundle_tasks import FakeTaskInstance
from redis import Redis

from batchy_provider import compat
from batchy_provider.core.values import CloseRequest, Holder, OpenRequest
from batchy_provider.local.rest import wait_for
from batchy_provider.operators import batch_watchdog
from batchy_provider.operators.bundle import BashBundleOperator
from batchy_provider.state.store import Store

FOREVER = "touch {folder}/begun; while :; do sleep 0.1; done"


@pytest.fixture
def supervisor(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The other end of the task's socket; the supervisor's death closes it."""
    ours, theirs = socket.socketpair()
    monkeypatch.setattr(compat, "supervisor_socket", ours.fileno)
    yield theirs
    ours.close()
    theirs.close()


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_watchdog, "BATCH_SECONDS", 0.2)


def forever(folder: Path, **options: Any) -> BashBundleOperator:
    return BashBundleOperator(
        task_id="extract", workflow="sales", bash_command=FOREVER.format(folder=folder), **options
    )


def once_begun(folder: Path, act: Any) -> threading.Thread:
    """Do something when the script runs."""

    def wait_and_act() -> None:
        wait_for(lambda: (folder / "begun").exists(), "the script to begin", timeout=60)
        act()

    thread = threading.Thread(target=wait_and_act)
    thread.start()
    return thread


def test_a_script_ends_with_its_supervisor(run: Any, batch: Any, supervisor: socket.socket, tmp_path: Path) -> None:
    killing = once_begun(tmp_path, supervisor.close)
    with pytest.raises(AirflowException, match="the supervisor of its task was killed"):
        run(forever(tmp_path))
    killing.join()


def test_what_the_supervisor_says_meanwhile_is_left_for_the_task_to_read(
    run: Any,
    batch: Any,
    supervisor: socket.socket,
) -> None:
    supervisor.send(b"an answer")
    run(BashBundleOperator(task_id="extract", workflow="sales", bash_command="sleep 1.2"))
    with socket.socket(fileno=os.dup(compat.supervisor_socket() or 0)) as ours:
        assert ours.recv(20) == b"an answer"


def taker(redis_client: Redis) -> Any:
    return lambda: Store(redis_client).open(
        "sales", OpenRequest(holder=Holder(dag_id="sales", run_id="another"), if_open="take_over")
    )


def test_a_script_ends_when_its_batch_is_taken_over(
    run: Any,
    batch: Any,
    often: None,
    redis_client: Redis,
    tmp_path: Path,
) -> None:
    taking = once_begun(tmp_path, taker(redis_client))
    with pytest.raises(AirflowException, match=f"batch {batch.batch_id} of sales was closed as failed while it ran"):
        run(forever(tmp_path))
    taking.join()


def test_a_script_ends_when_a_person_fails_its_batch(
    run: Any,
    batch: Any,
    often: None,
    redis_client: Redis,
    tmp_path: Path,
) -> None:
    failing = once_begun(tmp_path, lambda: Store(redis_client).close("sales", CloseRequest(result="failed")))
    with pytest.raises(AirflowException, match="was closed as failed while it ran"):
        run(forever(tmp_path))
    failing.join()


def test_a_redis_that_cannot_be_asked_ends_no_script(
    run: Any,
    batch: Any,
    often: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from batchy_provider.exceptions import RedisUnavailableError

    asked = []

    def away(*_: Any) -> Any:
        asked.append(1)
        raise RedisUnavailableError("away")

    monkeypatch.setattr(Store, "batch", away)
    run(BashBundleOperator(task_id="extract", workflow="sales", bash_command="sleep 2"))
    assert asked


def test_a_job_of_a_batch_that_was_taken_over_does_not_begin(
    run: Any,
    batch: Any,
    redis_client: Redis,
    tmp_path: Path,
) -> None:
    taker(redis_client)()
    with pytest.raises(AirflowFailException, match="was taken over by another run, which loads its window now"):
        run(forever(tmp_path))
    assert not (tmp_path / "begun").exists()


def test_a_handler_of_a_batch_that_was_taken_over_still_tells_people(
    run: Any,
    batch: Any,
    redis_client: Redis,
    ti: FakeTaskInstance,
) -> None:
    taker(redis_client)()
    run(BashBundleOperator(task_id="page", workflow="sales", job_params={}, bash_command="echo paged"))
    assert ti.states["page"] == "success"
