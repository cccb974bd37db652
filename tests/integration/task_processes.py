# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Find the processes of a running task: its script, and Airflow's above it."""

from __future__ import annotations

from pathlib import Path

from batchy_provider.local.rest import wait_for


def script_pid(folder: Path, *, timeout: float = 240) -> int:
    """Wait until a script has written its process id to the file ``pid``; remove the file.

    :param timeout: seconds.
    """

    def pid() -> int | None:
        text = (folder / "pid").read_text() if (folder / "pid").exists() else ""
        return int(text) if text.strip() else None

    found = int(wait_for(pid, "the script to start", timeout=timeout))
    (folder / "pid").unlink()
    return found


def is_alive(pid: int) -> bool:
    """Return whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def airflow_processes_above(pid: int) -> list[int]:
    """Return the task's process and its supervisor: the nearest ancestors of a script that are Airflow's."""
    found: list[int] = []
    while (pid := _parent(pid)) > 1 and len(found) < 2:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        if b"airflow" in command:
            found.append(pid)
    return found


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
