# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Processes that open and close without a pause, while slots of the Cluster are moved and a master is killed.

Each keeps a ledger of what it was told; in the end the ledgers and the history must say the same, and each workflow's
windows must follow one another without a gap and without an overlap.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from redis_cluster import Cluster, started_cluster

from batchy_provider.state.connections import open_client
from batchy_provider.state.store import Store

WORKFLOWS = [f"storm{n}" for n in range(6)]
PROCESSES = 3

PROGRAM = """
import json, random, sys, time
from batchy_provider.state import connections
from batchy_provider.core.values import CloseRequest, Holder, OpenRequest, WorkflowConfig
from batchy_provider.exceptions import BatchHeldError, ConflictError

url, me, workflows = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
address = connections.parse_url(url)
store = connections.store(address, connections.client(address), retry_seconds=120)
chance = random.Random(int(me))
night = 0
print("ready", flush=True)
sys.stdin.readline()
end = time.monotonic() + float(sys.argv[4])
while time.monotonic() < end:
    night += 1
    name = chance.choice(workflows)
    config = WorkflowConfig(name=name, jobs={"extract": {}, "load": {}})
    try:
        batch = store.open(name, OpenRequest(config=config, holder=Holder(dag_id=name, run_id=f"{me}-{night}")))
    except BatchHeldError:
        continue
    result = chance.choice(["success", "success", "failed"])
    closed = store.close(name, CloseRequest(result=result, batch_id=batch.batch_id))
    print(json.dumps([name, batch.batch_id, batch.from_date, batch.to_date, closed.status]), flush=True)
"""


def storm(url: str, seconds: float, meanwhile: Any) -> list[list[Any]]:
    """Let the processes loose, do something meanwhile, and return all their ledgers."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, f"{url}?wait_replicas=1", str(n), json.dumps(WORKFLOWS), str(seconds)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for n in range(PROCESSES)
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        meanwhile()
        ledgers = [process.communicate(timeout=240)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0] * PROCESSES
    return [json.loads(line) for ledger in ledgers for line in ledger.splitlines()]


def each_window_once(store: Store, told: list[list[Any]]) -> None:
    assert told
    for name in WORKFLOWS:
        batches = [batch for batch in store.history(name, limit=100_000) if batch.kind == "live"]
        stored = {(b.batch_id, b.from_date, b.to_date, b.status) for b in batches}
        ledger = Counter(tuple(entry[1:]) for entry in told if entry[0] == name)
        assert set(ledger) == stored, f"{name}: what was told is not what is there"
        assert set(ledger.values()) <= {1}, f"{name}: a batch was given to two"
        windows = sorted((b.from_date, b.to_date) for b in batches if b.status == "success")
        starts, ends = [start for start, _ in windows], [end for _, end in windows]
        assert starts[1:] == ends[:-1], f"{name}: {windows}"


class Mover:
    """Moves the slots of the workflows from master to master, key by key, so that commands meet each state of it."""

    def __init__(self, cluster: Cluster, client: Any) -> None:
        self._nodes = cluster.nodes[:3]
        self._ids = [node.execute_command("CLUSTER", "MYID").decode() for node in self._nodes]
        self._slots = {name: client.keyslot(f"{{{name}}}") for name in WORKFLOWS}
        self.moved = 0

    def move(self, name: str) -> None:
        slot = self._slots[name]
        here = next(n for n, node in enumerate(self._nodes) if self._owner(node, slot))
        there = (here + 1) % len(self._nodes)
        source, target = self._nodes[here], self._nodes[there]
        target.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", self._ids[here])
        source.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", self._ids[there])
        port = target.connection_pool.connection_kwargs["port"]
        while keys := source.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 3):
            source.execute_command("MIGRATE", "127.0.0.1", port, "", 0, 5000, "REPLACE", "KEYS", *keys)
            time.sleep(0.002)
        for node in (target, source, *(n for n in self._nodes if n not in (source, target))):
            node.execute_command("CLUSTER", "SETSLOT", slot, "NODE", self._ids[there])
        self.moved += 1

    @staticmethod
    def _owner(node: Any, slot: int) -> bool:
        own = next(n for n in node.cluster("nodes").values() if "myself" in n["flags"])
        return any(int(part[0]) <= slot <= int(part[-1]) for part in own["slots"] if not str(part[0]).startswith("["))


@pytest.mark.slow
def test_slots_that_are_moved_during_a_storm(tmp_path: Path) -> None:
    with started_cluster(tmp_path, replicas=3) as cluster:
        client = open_client(cluster.url)
        mover = Mover(cluster, client)
        chance = random.Random(7)

        def meanwhile() -> None:
            for _ in range(8):
                mover.move(chance.choice(WORKFLOWS))
                time.sleep(0.2)

        told = storm(cluster.url, 4, meanwhile)
        assert mover.moved == 8
        each_window_once(Store(open_client(cluster.url)), told)


@pytest.mark.slow
def test_a_master_that_is_killed_during_a_storm(tmp_path: Path) -> None:
    """With wait_replicas, whatever a process was told is on the replica that takes over, if there is one more."""
    with started_cluster(tmp_path, replicas=4, timeout_ms=3_000) as cluster:
        killing = threading.Timer(2, cluster.processes[0].kill)
        told = storm(cluster.url, 8, killing.start)
        killing.join()
        alive = "redis+cluster://" + ",".join(cluster.url.split(",")[1:])
        each_window_once(Store(open_client(alive), retry_seconds=60), told)
