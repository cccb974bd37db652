# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Processes of this machine: who called a command, and whether the process that holds a batch is alive.

It needs Linux's /proc. Where there is none, or where it hides other users' processes, callers are not known, and nobody
counts as alive.
"""

from __future__ import annotations

import os
import socket
from functools import cache
from pathlib import Path
from typing import NamedTuple

from batchy_provider.core.holders import CallingProcess, Holder, ProcessId, Sighting

_PROC = Path("/proc")
_MOST_ANCESTORS = 200
_SHELLS = frozenset({"sh", "bash", "dash", "ash", "ksh", "ksh93", "mksh", "zsh", "busybox"})
_WRAPPERS = frozenset(
    {
        "chronic", "doas", "flock", "ionice", "nice", "nohup", "pdm", "pipx", "poetry", "runuser", "setpriv",
        "setsid", "stdbuf", "strace", "su", "sudo", "time", "timeout", "unbuffer", "uv",
    }
)  # fmt: skip
"""Programs that only start the command; what calls them is the caller."""
_SERVICES = frozenset({"CRON", "anacron", "atd", "cron", "crond", "init", "sshd", "sshd-session", "systemd"})
"""Programs that start commands for anybody: no caller is looked for beyond them."""
_SEVERAL_COMMANDS = frozenset(";&|\n")


class _Process(NamedTuple):
    pid: int
    parent: int
    started: int
    name: str
    is_dead: bool

    @property
    def id(self) -> ProcessId:
        return ProcessId(self.pid, self.started)


def calling_process(pid: int | None = None) -> CallingProcess | None:
    """Return the process that called this one; None if it cannot be identified.

    A subshell, a shell that runs only this command, and wrappers such as `sudo` and `timeout` are passed over: the
    script that started them is the caller.

    :param pid: the process that holds the batch, instead of the caller.
    """
    place = _place()
    if place is None:
        return None
    chain: list[ProcessId] = []
    process = _read(os.getppid() if pid is None else pid)
    while process is not None and not process.is_dead:
        chain.append(process.id)
        parent = _read(process.parent) if pid is None and process.parent > 0 else None
        process = parent if parent is not None and _is_passed_over(process, parent) else None
    return CallingProcess(host=socket.gethostname(), place=place, chain=tuple(chain)) if chain else None


def this_process() -> CallingProcess | None:
    """Return this process as the holder of a batch; None if it cannot be identified."""
    return calling_process(os.getpid())


def ancestors() -> CallingProcess | None:
    """Return all processes above this one; None if they cannot be identified."""
    place = _place()
    if place is None:
        return None
    chain: list[ProcessId] = []
    process = _read(os.getppid())
    while process is not None and len(chain) < _MOST_ANCESTORS:
        chain.append(process.id)
        process = _read(process.parent) if process.parent > 0 else None
    return CallingProcess(host=socket.gethostname(), place=place, chain=tuple(chain)) if chain else None


def sight(holder: Holder) -> Sighting | None:
    """Return what can be seen from here of the process that holds a batch; None if the holder has none."""
    process = holder.process
    if process is None:
        return None
    if process.place != _place():
        return Sighting("unknown")
    for each in process.chain:
        found = _read(each.pid)
        if found is not None and found.started == each.started and not found.is_dead:
            return Sighting("alive", each)
    return Sighting("gone")


def _is_passed_over(process: _Process, parent: _Process) -> bool:
    if parent.name in _SERVICES:
        return False
    if process.name in _WRAPPERS:
        return True
    if process.name not in _SHELLS:
        return False
    words = _words(process.pid)
    if words and words == _words(parent.pid):
        return True  # a subshell: a copy of its parent
    return len(words) == 3 and words[1] == "-c" and not _SEVERAL_COMMANDS.intersection(words[2])


def _read(pid: int) -> _Process | None:
    try:
        text = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
        name, _, rest = text.partition("(")[2].rpartition(")")
        fields = rest.split()
        return _Process(pid, int(fields[1]), int(fields[19]), name, fields[0] in "ZXx")
    except (OSError, ValueError, IndexError):
        return None


def _words(pid: int) -> list[str]:
    try:
        found = (_PROC / str(pid) / "cmdline").read_bytes().rstrip(b"\0")
    except OSError:
        return []
    return found.decode("utf-8", "replace").split("\0") if found else []


@cache
def _place() -> str | None:
    """Return the boot of this machine and the namespace of its process ids; None if they are not known."""
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {(_PROC / 'self/ns/pid').readlink()}"
    except (OSError, ValueError):
        return None
