# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Thirty-two processes at one workflow: exactly one batch, no update lost, no history torn."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
import redis

PROCESSES = 32
JOBS = 10

PROGRAM = """
import json, os, sys, time, traceback
from batchy_provider.state.connections import open_client
from batchy_provider.core.values import CloseRequest, Holder, OpenRequest, Window, WorkflowConfig
from batchy_provider.state.store import Store
from batchy_provider.exceptions import BatchHeldError
import redis, redis.cluster

url, what, processes, jobs = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
config = WorkflowConfig(name="sales", jobs={f"job{n}": {"number": n} for n in range(jobs)})

def one(number):
    client = open_client(url)
    store = Store(client)

    def opened(run, **wish):
        holder = Holder(dag_id="sales", run_id=run) if run else Holder(by=f"process {number}")
        return store.open("sales", OpenRequest(holder=holder, config=config, **wish))

    client.incr("ready")
    while int(client.get("ready")) < processes:
        time.sleep(0.001)
    if what == "runs":
        try:
            return ["opened", opened(f"run {number}").batch_id]
        except BatchHeldError as held:
            return ["held", held.batch_id]
    if what == "retries":
        batch = opened("the one run")
        return ["reused" if batch.reused else "opened", batch.batch_id]
    if what == "people":
        return ["opened", opened(None).batch_id]
    if what == "backfills":
        day = f"2026-01-{number % 28 + 1:02}"
        batch = opened(f"backfill {number}", backfill=True, window=Window(from_date=day, to_date=day + "T23:00"))
        store.close("sales", CloseRequest(result="success", batch_id=batch.batch_id))
        return ["opened", batch.batch_id]
    (store.disable if number % 2 else store.enable)("sales", f"job{number // 2 % jobs}", by=f"process {number}")
    return ["switched", 0]

# Forked from one that has imported all: the machine's time goes to the race, not to thirty-two imports.
children = []
for number in range(processes):
    child = os.fork()
    if child:
        children.append(child)
        continue
    try:
        os.write(1, (json.dumps(one(number)) + "\\n").encode())
    except BaseException:
        traceback.print_exc()
    os._exit(0)
for child in children:
    os.waitpid(child, 0)
"""


def together(url: str, what: str) -> list[list[Any]]:
    """Start all, let them go at the same moment, and return what each says."""
    command = [sys.executable, "-c", PROGRAM, url, what, str(PROCESSES), str(JOBS)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    with redis.Redis.from_url(url) as client:
        client.delete("ready")
    said = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(said) == PROCESSES
    return said


def nothing_is_torn(client: redis.Redis) -> int:
    live = {name.decode(): json.loads(text) for name, text in client.hgetall("sales").items()}
    assert len(live) == JOBS
    (live_id,) = {job["batch_id"] for job in live.values()}
    assert client.hgetall("sales") == client.hgetall(f"sales-{live_id}")
    for member in client.zrange("sales:history", 0, -1):
        stored = [json.loads(text) for text in client.hvals(f"sales-{int(member)}")]
        assert {job["batch_id"] for job in stored} == {int(member)}
        assert len({job["status"] for job in stored}) == 1
        assert len(stored) == JOBS
    return int(live_id)


def test_of_many_runs_that_open_at_once_one_gets_the_batch(redis_url: str, redis_client: redis.Redis) -> None:
    said = together(redis_url, "runs")
    live_id = nothing_is_torn(redis_client)
    assert sorted(said) == [["held", live_id]] * (PROCESSES - 1) + [["opened", live_id]]
    assert redis_client.zcard("sales:history") == 1
    assert redis_client.hlen("sales:runs") == 1


@pytest.mark.slow
def test_of_one_run_that_opens_many_times_at_once_all_get_the_same_batch(
    redis_url: str, redis_client: redis.Redis
) -> None:
    said = together(redis_url, "retries")
    live_id = nothing_is_torn(redis_client)
    assert sorted(said) == [["opened", live_id]] + [["reused", live_id]] * (PROCESSES - 1)
    assert redis_client.zcard("sales:history") == 1


@pytest.mark.slow
def test_people_who_open_at_once_take_over_from_one_another_and_every_batch_has_its_own_id(
    redis_url: str, redis_client: redis.Redis
) -> None:
    said = together(redis_url, "people")
    live_id = nothing_is_torn(redis_client)
    ids = [batch_id for _, batch_id in said]
    assert len(set(ids)) == PROCESSES
    assert max(ids) == live_id
    ended = [json.loads(redis_client.hvals(f"sales-{i}")[0])["outcome"] for i in ids if i != live_id]
    assert ended == ["aborted"] * (PROCESSES - 1)


@pytest.mark.slow
def test_of_backfills_that_open_and_close_at_once_none_is_lost(redis_url: str, redis_client: redis.Redis) -> None:
    said = together(redis_url, "backfills")
    ids = {batch_id for _, batch_id in said}
    assert len(ids) == PROCESSES
    assert {int(member) for member in redis_client.zrange("sales:history", 0, -1)} == ids
    for batch_id in ids:
        assert {json.loads(text)["status"] for text in redis_client.hvals(f"sales-{batch_id}")} == {"success"}
    loaded = {name: json.loads(text) for name, text in redis_client.hgetall("sales:loaded").items()}
    assert {len(intervals) for intervals in loaded.values()} == {28}
    assert not redis_client.exists("sales")


def test_of_switches_that_are_thrown_at_once_none_is_lost(redis_url: str, redis_client: redis.Redis) -> None:
    from batchy_provider.core.values import OpenRequest, WorkflowConfig
    from batchy_provider.state.store import Store

    store = Store(redis_client)
    store.open("sales", OpenRequest(config=WorkflowConfig(name="sales", jobs={f"job{n}": {} for n in range(JOBS)})))
    together(redis_url, "switches")
    changes = store.status("sales").changes
    assert len({change.by for change in changes}) == len(changes) >= JOBS
    off = set()
    for change in reversed(changes):
        verb, job = change.what.split()
        (off.add if verb == "disabled" else off.discard)(job)
    assert store.status("sales").disabled == off
