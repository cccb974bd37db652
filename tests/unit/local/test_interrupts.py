# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Ctrl-C at any moment leaves no program behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from batchy_provider.local import guard
from batchy_provider.local.interrupts import held_back


def test_a_signal_in_the_block_is_delivered_after_it() -> None:
    steps = []
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012  # it must not come before the second step
        with held_back():
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
            steps.append("done")
        steps.append("too far")
    assert steps == ["done"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_with_a_notice_it_is_answered_and_dropped() -> None:
    said: list[str] = []
    with held_back(notice=lambda: said.append("still stopping")):
        os.kill(os.getpid(), signal.SIGINT)
    assert said == ["still stopping"]


STARTING = """
    import os, sys
    from pathlib import Path
    from batchy_provider.local.process import Service

    services = []
    print("ready", flush=True)
    try:
        while True:
            service = Service("Godot", ["sleep", "300"], log=Path(sys.argv[1]), env=dict(os.environ, MARK=sys.argv[1]))
            services.append(service)
            service.start()
            service.kill()
            services.clear()
    except KeyboardInterrupt:
        for service in services:
            service.kill()
"""


def test_ctrl_c_while_programs_are_started_leaves_none(tmp_path: Path) -> None:
    log = str(tmp_path / "log")
    for number in range(8):
        command = [sys.executable, "-c", textwrap.dedent(STARTING), log]
        with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as program:
            assert program.stdout is not None
            program.stdout.readline()
            time.sleep(0.013 * number)
            program.send_signal(signal.SIGINT)
    assert [pid for pid in _sleepers() if log in _environment(pid)] == []


def _sleepers() -> list[int]:
    return [process.pid for process in guard._table()]


def _environment(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/environ").read_text()
    except OSError:
        return ""
