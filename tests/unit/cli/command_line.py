# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Call commands, in this process or as a separate program, with a workflow `sales` on a real Valkey."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from batchy_provider.cli.main import main
from batchy_provider.core.values import Holder, OpenRequest, WorkflowConfig
from batchy_provider.state.connections import open_client
from batchy_provider.state.store import Store

BATCHY = [sys.executable, "-m", "batchy_provider.cli.main"]
Batchy = Callable[..., "subprocess.CompletedProcess[bytes]"]

CONFIG = WorkflowConfig(
    name="sales", jobs={"extract": {"reprocess_hours": 2, "region": "eu", "größe": [1, 2]}, "load": {}}
)
FILE = """\
schedule: null
start_date: 2026-01-01
jobs:
  extract: {bash: "true", params: {region: eu}}
  load: {bash: "true"}
"""


class Cli:
    """Calls commands in this process."""

    def __init__(self, url: str, capsys: pytest.CaptureFixture[str]) -> None:
        self._url = url
        self._capsys = capsys
        self.store = Store(open_client(url))

    def __call__(self, *arguments: str, code: int = 0) -> str:
        """Run a command and return what it printed; its errors are in ``said``."""
        got, out = self.call(*arguments)
        assert got == code, f"exit code {got}: {out}{self.said}"
        return out

    def call(self, *arguments: str) -> tuple[int, str]:
        """Run a command and return its exit code and what it printed."""
        self._capsys.readouterr()
        got = main(["--redis-url", self._url, *arguments])
        out, self.said = self._capsys.readouterr()
        return got, out

    def json(self, *arguments: str, code: int = 0) -> Any:
        return json.loads(self("-o", "json", *arguments, code=code))


def open_by_run(store: Store, run_id: str = "nightly") -> int:
    return store.open("sales", OpenRequest(holder=Holder(dag_id="sales", run_id=run_id))).batch_id
