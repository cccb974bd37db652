# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""How one run of a script ended, as the runner saw it."""

from __future__ import annotations

import signal as signals
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from batchy_provider.bundles.run_output import RunOutput
    from batchy_provider.bundles.session_leader import SessionLeader

BACKGROUND_TIMEOUT = "background_timeout"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """How a script ended.

    :param exit_code: 0 to 255; 128 + n after signal n.
    :param signal: name of the signal that ended the script, or None.
    :param ended: what ended it: ``exit``, ``timeout``, ``cancelled``, ``output_limit`` or ``background_timeout``.
    :param killed: the grace was not enough, and KILL was sent.
    :param seconds: wall time.
    :param cpu_seconds: CPU time of the script and of the children that it waited for.
    :param max_rss_bytes: largest resident size of any one process of the script. The kernel does not report values
        below the size of the worker. Those are sampled, so a process that lives shorter than the time between two
        samples may be missed.
    :param stdout_masked: how many secrets were masked in stdout.
    :param stderr_masked: likewise, in stderr.
    :param stderr_tail: the last bytes of stderr, masked, as text.
    :param background: processes that still ran after the script's end and were stopped: pid and command, masked.
    """

    exit_code: int
    signal: str | None
    ended: str
    killed: bool
    seconds: float
    cpu_seconds: float
    max_rss_bytes: int
    stdout_masked: int
    stderr_masked: int
    stderr_tail: str
    background: tuple[str, ...] = ()


def result_of(
    leader: SessionLeader,
    output: RunOutput,
    background: tuple[str, ...],
    *,
    ended: str,
    killed: bool,
    seconds: float,
) -> RunResult:
    """Return how a script ended; the parameters are those of `RunResult`.

    :param leader: of its session; it has ended.
    :param output: of the script, complete.
    """
    code, usage = leader.returncode, leader.usage
    assert code is not None
    return RunResult(
        exit_code=code if code >= 0 else 128 - code,
        signal=signal_name(-code) if code < 0 else None,
        ended=ended,
        killed=killed,
        seconds=seconds,
        cpu_seconds=usage.ru_utime + usage.ru_stime if usage else 0.0,
        max_rss_bytes=leader.peak_bytes,
        background=background,
        stdout_masked=output.streams["stdout"].masked,
        stderr_masked=output.streams["stderr"].masked,
        stderr_tail=output.stderr_tail,
    )


def signal_name(number: int) -> str:
    """Return the name of a signal, such as ``SIGKILL``."""
    try:
        return signals.Signals(number).name
    except ValueError:
        return f"signal {number}"
