# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""A real master with a replica, and a Sentinel that promotes the replica when the master is lost."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from subprocess import DEVNULL, Popen
from typing import Any

import redis

from batchy_provider.local.ports import free_port
from batchy_provider.local.servers import valkey_binary

SERVICE = "mymaster"
_LOST_AFTER_MS = 500
_PATIENCE_SECONDS = 120


class Watched:
    """Master, replica and Sentinel, running."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder = folder
        self._stack = stack
        self.ports = (free_port(), free_port())
        common = ["--bind", "127.0.0.1", "--save", "", "--repl-diskless-sync-delay", "0"]
        self.master = self._start("master", "--port", str(self.ports[0]), *common)
        replica_of = ["--replicaof", "127.0.0.1", str(self.ports[0])]
        self.replica = self._start("replica", "--port", str(self.ports[1]), *replica_of, *common)
        master, replica = (redis.Redis(port=port) for port in self.ports)
        with master, replica:
            _until(lambda: master.info("replication")["connected_slaves"] == 1)
            _until(lambda: replica.info("replication")["master_link_status"] == "up")
        self.sentinel_port = free_port()
        lines = [
            f"port {self.sentinel_port}",
            "bind 127.0.0.1",
            f"dir {folder}",
            f"sentinel monitor {SERVICE} 127.0.0.1 {self.ports[0]} 1",
            f"sentinel down-after-milliseconds {SERVICE} {_LOST_AFTER_MS}",
            f"sentinel failover-timeout {SERVICE} 5000",
        ]
        config = folder / "sentinel.conf"
        config.write_text("\n".join(lines) + "\n")
        self._start("sentinel", str(config), "--sentinel")
        self.url = f"redis+sentinel://127.0.0.1:{self.sentinel_port}/{SERVICE}"
        self.sentinel = stack.enter_context(redis.Redis(port=self.sentinel_port))
        _until(lambda: self._state()["num-slaves"] == 1)

    def master_port(self) -> int:
        """Which one Sentinel says is the master."""
        return int(self._state()["port"])

    def replica_has_all(self) -> bool:
        """Wait until what the master has is on the replica too; else it dies with the master."""
        with redis.Redis(port=self.ports[0]) as master:
            return bool(master.wait(1, 5_000) == 1)

    def fail_over(self) -> None:
        """Have Sentinel swap master and replica, as an admin does who is to service the machine."""
        # It takes a replica only after it has heard of it for a while.
        _until(lambda: self.sentinel.execute_command("SENTINEL", "FAILOVER", SERVICE))

    def _state(self) -> dict[str, Any]:
        return dict(self.sentinel.sentinel_master(SERVICE))

    def _start(self, name: str, *arguments: str) -> Popen[bytes]:
        log = self._stack.enter_context((self._folder / f"{name}.log").open("wb"))
        (home := self._folder / name).mkdir()
        process = self._stack.enter_context(
            Popen([str(valkey_binary()), *arguments], cwd=home, stdout=log, stderr=log, stdin=DEVNULL)
        )
        self._stack.callback(process.kill)
        return process


@contextmanager
def started_sentinel(folder: Path) -> Iterator[Watched]:
    with ExitStack() as stack:
        yield Watched(folder, stack)


@contextmanager
def sentinel_of(folder: Path, port: int) -> Iterator[str]:
    """Start a Sentinel that knows one master, without a replica, and never gives it up; yields the URL by it."""
    at = free_port()
    lines = [
        f"port {at}",
        "bind 127.0.0.1",
        f"dir {folder}",
        f"sentinel monitor {SERVICE} 127.0.0.1 {port} 1",
        f"sentinel down-after-milliseconds {SERVICE} 600000",
    ]
    config = folder / "sentinel.conf"
    config.write_text("\n".join(lines) + "\n")
    with Popen([str(valkey_binary()), str(config), "--sentinel"], stdout=DEVNULL, stdin=DEVNULL) as process:
        try:
            with redis.Redis(port=at) as sentinel:
                _until(lambda: sentinel.sentinel_master(SERVICE)["num-slaves"] == 0)
            yield f"redis+sentinel://127.0.0.1:{at}/{SERVICE}"
        finally:
            process.kill()


def _until(ready: Callable[[], Any]) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            if ready():
                return
        except redis.RedisError:
            pass
        if time.monotonic() > deadline:
            raise TimeoutError("the Sentinel of the tests did not come up")
        time.sleep(0.05)
