# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""A real Redis or Valkey on this machine."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from batchy_provider.local.ports import free_port
from batchy_provider.local.process import Service
from batchy_provider.local.servers import valkey_binary

if TYPE_CHECKING:
    from redis import Redis

REDIS_SERVER = os.environ.get("BATCHY_TEST_REDIS_SERVER") or shutil.which("redis-server")
_FETCHED = Path(__file__).parents[1] / ".batchy" / "redis-6.2" / "redis-server"
REDIS_62_SERVER = os.environ.get("BATCHY_TEST_REDIS62_SERVER") or (str(_FETCHED) if _FETCHED.exists() else None)
"""The oldest Redis that is supported; ``.ci/redis-6.2`` fetches it."""


def programs() -> dict[str, str]:
    """Kind of server → its program, as far as they are on this machine."""
    found = {"valkey": str(valkey_binary()), "redis": REDIS_SERVER, "redis-6.2": REDIS_62_SERVER}
    return {kind: program for kind, program in found.items() if program is not None}


KIND = os.environ.get("BATCHY_TEST_KIND", "valkey")
"""Which of them the tests run on that run on one alone."""


class Server:
    """
    A Redis or Valkey of the tests' own on 127.0.0.1, which a test may stop and start again.

    :param keeps: what is in it outlives its end, also that by a kill.
    :param more: further options of its configuration.
    :param environment: more variables for it.
    """

    def __init__(
        self,
        program: Path | str,
        folder: Path,
        *,
        keeps: bool = False,
        more: Mapping[str, object] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        options = {"port": self.port, "bind": "127.0.0.1", "dir": folder, "save": ""}
        options["appendonly"] = "yes" if keeps else "no"
        options |= more or {}
        command = [str(program), *(str(part) for name, value in options.items() for part in (f"--{name}", value))]
        env = {**os.environ, **(environment or {})}
        self._service = Service("the tests' server", command, log=folder / "server.log", env=env)

    def start(self) -> None:
        self._service.start()
        self._service.wait_until(self._answers, timeout=20)

    def stop(self) -> None:
        self._service.stop()

    def kill(self) -> None:
        self._service.kill()

    def freeze(self) -> None:
        """Let it do nothing, and keep its connections, as a machine does that swaps."""
        os.kill(self._service.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self._service.pid, signal.SIGCONT)

    def client(self) -> Redis:
        import redis

        return redis.Redis.from_url(self.url)

    def _answers(self) -> bool:
        import redis

        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.RedisError:
            return False
