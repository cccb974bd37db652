# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Look at the processes, the open files and the shown lines of a real script, for tests."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import Any

from batchy_provider.bundles.live_output import LiveView


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def gone(pid: int, within: float = 3.0) -> bool:
    end = time.monotonic() + within
    while alive(pid):
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def children() -> set[str]:
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


def left_behind(before: tuple[set[str], set[str]]) -> set[str]:
    files, processes = before
    return (open_files() - files) | (children() - processes)


def open_files() -> set[str]:
    """What is open here. Others' connections may end while a test runs, so that a test looks for what came to it."""
    found = set()
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.add(str(link.readlink()))
    return found


def shown(**options: Any) -> tuple[list[tuple[str, str]], LiveView]:
    calls: list[tuple[str, str]] = []
    return calls, LiveView(lambda stream, lines: calls.append((stream, lines)), **options)
