# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The scripts under deploy/, run by tests as they are: each starts servers with TLS and users of the least rights."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from redis_server import REDIS_SERVER

from batchy_provider.local.ports import free_port

ROOT = Path(__file__).parents[1]
_PATIENCE_SECONDS = 180

DURING: dict[str, Callable[[], Any]] = {}
"""What happens while the job of a run of ``failed_over_dag`` does its work, by the run's conf."""


def a_range_of_ports(number: int) -> int:
    """Return the first of so many ports that are free now, one after the other."""
    import socket

    while True:
        first = free_port()
        with suppress(OSError, OverflowError):
            for port in range(first, first + number):
                socket.create_server(("127.0.0.1", port)).close()
            return first


def script(name: str, folder: Path, ports: int, *more: str) -> list[str]:
    if REDIS_SERVER is None:
        pytest.skip("no redis-server here")
    first = str(a_range_of_ports(ports))
    return [str(ROOT / "deploy" / name), "--folder", str(folder), "--port", first, *more]


def environment() -> dict[str, str]:
    """As in a shell of somebody's, with this checkout's `batchy` and the redis-server of the tests."""
    import sys

    path = f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}"
    return {**os.environ, "PATH": path, "REDIS_SERVER": str(REDIS_SERVER)}


class Deployed:
    """What a script has started."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        pairs = re.findall(r"^export (\w+)='(.*)'$", (folder / "env.sh").read_text(), re.M)
        self.env = dict(pairs)

    @property
    def url(self) -> str:
        return self.env["BATCHY_REDIS_URL"]

    @property
    def connection(self) -> str:
        return self.env["AIRFLOW_CONN_REDIS_DEFAULT"]

    def port(self, name: str) -> int:
        (found,) = re.findall(r"^tls-port (\d+)$", (self.folder / f"{name}.conf").read_text(), re.M)
        return int(found)

    def kill(self, name: str) -> None:
        os.kill(int((self.folder / f"{name}.pid").read_text()), signal.SIGKILL)

    def ask(self, name: str, *words: str) -> str:
        """Ask a server as its admin."""
        command = ["redis-cli", "--tls", "--cacert", str(self.folder / "tls" / "ca.crt"), "--user", "admin"]
        env = {**os.environ, "REDISCLI_AUTH": (self.folder / "admin.password").read_text().strip()}
        asked = [*command, "-p", str(self.port(name)), *words]
        return subprocess.run(asked, env=env, capture_output=True, text=True, check=True, timeout=30).stdout


@contextmanager
def deployed(name: str, folder: Path, ports: int) -> Iterator[Deployed]:
    """Run a script until the test is over, then stop it as Ctrl-C does."""
    command: Sequence[str] = script(name, folder, ports)
    with (folder.with_suffix(".log")).open("wb") as log:
        process = subprocess.Popen(command, env=environment(), stdout=log, stderr=log, start_new_session=True)
    said = folder.with_suffix(".log")
    try:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while "Running until Ctrl-C" not in said.read_text():
            assert process.poll() is None, said.read_text()
            assert time.monotonic() < deadline, said.read_text()
            time.sleep(0.1)
        yield Deployed(folder)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        process.wait(30)
