# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""What the runner runs: one command with its environment, files, times and limits."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from batchy_provider.bundles.limits import BACKGROUND_SECONDS, ProcessLimits


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """One command, and how to run it.

    :param command: program and arguments.
    :param cwd: its working folder.
    :param env: its whole environment.
    :param stdout: new file for all bytes of stdout, masked.
    :param stderr: new file for all bytes of stderr, masked.
    :param exact_stdout: new file for the unmasked stdout, made only if a secret was masked in it.
    :param stdin: file to read; None: empty.
    :param timeout: seconds after which the command is stopped; None: never.
    :param grace: seconds between TERM and KILL.
    :param background_timeout: seconds that background processes of the session may run after the command has exited
        with one of ``good_codes``. Then they are stopped, and `RunResult.ended` says so.
    :param good_codes: exit codes that mean success.
    :param drain: seconds that background processes get after any other end of the command, and seconds to wait for
        processes outside of the session that hold a pipe.
    :param limits: resource limits of each process.
    :param max_output_bytes: for each of the two streams; more output stops the command.
    :param umask: of the command.
    """

    command: Sequence[str]
    cwd: Path
    env: Mapping[str, str]
    stdout: Path
    stderr: Path
    exact_stdout: Path | None = None
    stdin: Path | None = None
    timeout: float | None = None
    grace: float = 10.0
    background_timeout: float = BACKGROUND_SECONDS
    good_codes: Collection[int] = (0,)
    drain: float = 2.0
    limits: ProcessLimits = field(default_factory=ProcessLimits)
    max_output_bytes: int | None = None
    umask: int = 0o022
