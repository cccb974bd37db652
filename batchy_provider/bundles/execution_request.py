# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""What to execute, and how: the bundle or command of one execution, its input and its limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from batchy_provider.bundles.execution_id import ExecutionId
from batchy_provider.bundles.limits import BACKGROUND_SECONDS, ProcessLimits
from batchy_provider.bundles.live_output import LOG_LIMIT_BYTES
from batchy_provider.bundles.script_context import ScriptContext


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionRequest:
    """What to run, and how. Give ``bundle`` or ``command``, one of the two.

    :param identity: the names under which the result store keeps the execution.
    :param script_context: what the script can read about its execution.
    :param bundle: path of a folder or zip, or an object with the `pathlib` API.
    :param command: text of a bash script.
    :param sha256: pin of the bundle: any other content is refused.
    :param args: arguments of the script.
    :param env: the job's own environment variables.
    :param inherit_env: give the script all variables of the worker instead of those on the allow-list.
    :param input: reference to a stored output. The script gets it as `BATCHY_INPUT` and on stdin.
    :param input_bytes: the input itself, instead of a reference.
    :param input_file: a local file to copy as the input, instead of a reference.
    :param job_lock: lock file. Of all scripts with the same file, only one runs at a time on this machine.
    :param timeout: seconds; None: no limit.
    :param kill_grace: seconds between TERM and KILL.
    :param background_timeout: seconds that background processes may run after a script that succeeded. Those that
        have not ended by then are stopped, and the execution fails.
    :param max_output_bytes: limit for stdout, and the same for stderr. More output fails the execution.
    :param log_limit_bytes: how many bytes are shown live, from the beginning.
    :param output_is_read: a later job reads the output. If the output is the stdout and a secret was masked in it, the
        unmasked stdout is stored too: data are never masked.
    """

    identity: ExecutionId
    script_context: ScriptContext
    bundle: Any = None
    command: str | None = None
    sha256: str | None = None
    args: Sequence[Any] = ()
    env: Mapping[str, Any] = field(default_factory=dict)
    inherit_env: bool = False
    input: Mapping[str, Any] | None = None
    input_bytes: bytes | None = None
    input_file: Path | None = None
    job_lock: Path | None = None
    timeout: float | None = None
    kill_grace: float = 10.0
    background_timeout: float = BACKGROUND_SECONDS
    limits: ProcessLimits = field(default_factory=ProcessLimits)
    max_output_bytes: int | None = None
    log_limit_bytes: int = LOG_LIMIT_BYTES
    output_is_read: bool = False
