# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""A real Redis Cluster of three masters on this machine, and replicas where a test is to lose one."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from subprocess import DEVNULL, Popen

import redis

from batchy_provider.local.ports import free_port
from batchy_provider.local.servers import valkey_binary

_SLOTS = 16384
_NODES = 3
_PATIENCE_SECONDS = 120


class Cluster:
    """
    A running cluster.

    :param ports: of its masters.
    """

    def __init__(self, ports: list[int]) -> None:
        self.nodes = [redis.Redis(host="127.0.0.1", port=port) for port in ports]
        self.url = "redis+cluster://" + ",".join(f"127.0.0.1:{port}" for port in ports)
        self.processes: list[Popen[bytes]] = []
        """Of its masters, and then of the replicas."""

    def empty(self) -> None:
        for node in self.nodes:
            node.flushall()

    def all_keys(self) -> set[str]:
        return {key.decode() for node in self.nodes for key in node.scan_iter()}


@contextmanager
def started_cluster(folder: Path, *, replicas: int = 0, timeout_ms: int = 5000) -> Iterator[Cluster]:
    """
    Start a cluster.

    :param replicas: deal out so many among the masters, to the first one first; they take over when it is lost.
    :param timeout_ms: after how long without a sign of life a node counts as lost.
    """
    with ExitStack() as stack:
        started = [_start(folder, stack, timeout_ms) for _ in range(_NODES)]
        ports, buses, processes = zip(*started, strict=True)
        cluster = Cluster(list(ports))
        cluster.processes.extend(processes)
        share = -(-_SLOTS // _NODES)
        for number, node in enumerate(cluster.nodes):
            stack.callback(node.close)
            _until(node.ping, redis.ConnectionError)
            first = number * share
            node.execute_command("CLUSTER", "ADDSLOTSRANGE", first, min(first + share, _SLOTS) - 1)
            node.execute_command("CLUSTER", "MEET", "127.0.0.1", ports[0], buses[0])
        for node in cluster.nodes:
            _until(lambda node=node: node.cluster("info")["cluster_state"] == "ok" and _sees_all(node))
        for number in range(replicas):
            port, _, process = _start(folder, stack, timeout_ms)
            cluster.processes.append(process)
            with redis.Redis(host="127.0.0.1", port=port) as node:
                _until(node.ping, redis.ConnectionError)
                master = number % _NODES
                _join(node, cluster.nodes[master], ports[master], buses[master])
        for node in cluster.nodes:
            _until(lambda node=node: len(node.cluster("nodes")) == _NODES + replicas)
        yield cluster


def _join(node: redis.Redis, master: redis.Redis, port: int, bus: int) -> None:
    """Make a node the replica of a master, and wait until it could take over."""
    node.execute_command("CLUSTER", "MEET", "127.0.0.1", port, bus)
    master_id = master.execute_command("CLUSTER", "MYID").decode()
    _until(lambda: node.execute_command("CLUSTER", "REPLICATE", master_id), redis.ResponseError)
    _until(lambda: node.info("replication")["master_link_status"] == "up")
    _until(lambda: len(node.cluster("nodes")) > _NODES)


def _sees_all(node: redis.Redis) -> bool:
    nodes = node.cluster("nodes")
    return len(nodes) == _NODES and all(n["connected"] and n["slots"] for n in nodes.values())


def _start(folder: Path, stack: ExitStack, timeout_ms: int) -> tuple[int, int, Popen[bytes]]:
    port, bus = free_port(), free_port()
    (home := folder / str(port)).mkdir()
    # The bus port is usually port + 10000, which may be past the last one.
    options = {
        "port": port,
        "bind": "127.0.0.1",
        "dir": home,
        "save": "",
        "repl-diskless-sync-delay": 0,
        "cluster-enabled": "yes",
        "cluster-port": bus,
        "cluster-node-timeout": timeout_ms,
        "logfile": home / "log",
    }
    command = [str(part) for name, value in options.items() for part in (f"--{name}", value)]
    process = stack.enter_context(Popen([str(valkey_binary()), *command], stdout=DEVNULL))
    stack.callback(process.terminate)
    return port, bus, process


def _until(ready: object, passing: type[Exception] | tuple[()] = ()) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            if ready():
                return
        except passing:
            pass
        if time.monotonic() > deadline:
            raise TimeoutError("the cluster of the tests did not come up")
        time.sleep(0.05)
