# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Fixtures of the command line: in this process, and as a separate program."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from command_line import BATCHY, CONFIG, Batchy, Cli

from batchy_provider.core.values import CloseRequest, OpenRequest


@pytest.fixture
def cli(redis_url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Cli:
    monkeypatch.delenv("BATCHY_CFG", raising=False)
    monkeypatch.setenv("LOGNAME", "anna")
    monkeypatch.chdir(tmp_path)
    return Cli(redis_url, capsys)


@pytest.fixture
def sales(cli: Cli) -> str:
    """A workflow in Redis with one batch that succeeded."""
    cli.store.open("sales", OpenRequest(config=CONFIG))
    cli.store.close("sales", CloseRequest(result="success"))
    return "sales"


@pytest.fixture
def batchy(tmp_path: Path) -> Batchy:
    """The real command in a separate process."""

    def call(*arguments: str, code: int = 0, **options: Any) -> subprocess.CompletedProcess[bytes]:
        done = subprocess.run(
            [*BATCHY, *arguments], capture_output=True, check=False, cwd=tmp_path, timeout=60, **options
        )
        assert done.returncode == code, done.stderr.decode()
        return done

    return call
