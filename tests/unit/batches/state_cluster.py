# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""A real Redis Cluster of three masters on this machine."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from subprocess import DEVNULL, Popen

import redis

from batchy_provider.local.servers import valkey_binary
from batchy_provider.local.stack import free_port

_SLOTS = 16384
_NODES = 3
_PATIENCE_SECONDS = 30


class Cluster:
    """A running cluster."""

    def __init__(self, ports: list[int]) -> None:
        self.nodes = [redis.Redis(host="127.0.0.1", port=port) for port in ports]
        self.url = "redis+cluster://" + ",".join(f"127.0.0.1:{port}" for port in ports)

    def empty(self) -> None:
        for node in self.nodes:
            node.flushall()

    def all_keys(self) -> set[str]:
        return {key.decode() for node in self.nodes for key in node.scan_iter()}


@contextmanager
def started_cluster(folder: Path) -> Iterator[Cluster]:
    with ExitStack() as stack:
        ports, buses = zip(*[_start(folder, stack) for _ in range(_NODES)], strict=True)
        cluster = Cluster(list(ports))
        share = -(-_SLOTS // _NODES)
        for number, node in enumerate(cluster.nodes):
            stack.callback(node.close)
            _until(node.ping, redis.ConnectionError)
            first = number * share
            node.execute_command("CLUSTER", "ADDSLOTSRANGE", first, min(first + share, _SLOTS) - 1)
            node.execute_command("CLUSTER", "MEET", "127.0.0.1", ports[0], buses[0])
        for node in cluster.nodes:
            _until(lambda node=node: node.cluster("info")["cluster_state"] == "ok" and _sees_all(node))
        yield cluster


def _sees_all(node: redis.Redis) -> bool:
    nodes = node.cluster("nodes")
    return len(nodes) == _NODES and all(n["connected"] and n["slots"] for n in nodes.values())


def _start(folder: Path, stack: ExitStack) -> tuple[int, int]:
    port, bus = free_port(), free_port()
    (home := folder / str(port)).mkdir()
    # The bus port is usually port + 10000, which may be past the last one.
    options = {
        "port": port,
        "bind": "127.0.0.1",
        "dir": home,
        "save": "",
        "cluster-enabled": "yes",
        "cluster-port": bus,
        "cluster-node-timeout": 5000,
        "logfile": home / "log",
    }
    command = [str(part) for name, value in options.items() for part in (f"--{name}", value)]
    process = stack.enter_context(Popen([str(valkey_binary()), *command], stdout=DEVNULL))
    stack.callback(process.terminate)
    return port, bus


def _until(ready: object, passing: type[Exception] | tuple[()] = ()) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            if ready():  # type: ignore[operator]
                return
        except passing:
            pass
        if time.monotonic() > deadline:
            raise TimeoutError("the cluster of the tests did not come up")
        time.sleep(0.05)
