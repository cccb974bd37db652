# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""A real Redis or Valkey on this machine."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from batchy_provider.local.process import Service
from batchy_provider.local.stack import free_port

if TYPE_CHECKING:
    from redis import Redis

REDIS_SERVER = os.environ.get("BATCHY_TEST_REDIS_SERVER") or shutil.which("redis-server")


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
