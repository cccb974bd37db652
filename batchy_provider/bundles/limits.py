# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Limits that protect a worker from a bundle. The defaults are above what an honest bundle needs."""

from __future__ import annotations

from dataclasses import dataclass

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB
BACKGROUND_SECONDS = 3600.0
"""How long background processes may run after a script that succeeded, by default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnpackLimits:
    """How large a bundle may be.

    :param archive_bytes: size of the zip itself.
    :param entries: files and folders in it.
    :param unpacked_bytes: all files together, counted while they are unpacked.
    :param ratio: unpacked bytes for one byte of the zip; checked above ``ratio_floor_bytes``.
    :param ratio_floor_bytes: up to this size, any ratio is allowed: a small log of zeros is no bomb.
    :param depth: folders within folders.
    :param name_bytes: length of one whole name, in UTF-8.
    """

    archive_bytes: int = 512 * MIB
    entries: int = 10_000
    unpacked_bytes: int = 1 * GIB
    ratio: int = 100
    ratio_floor_bytes: int = 10 * MIB
    depth: int = 32
    name_bytes: int = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessLimits:
    """What each process of a script may use (Linux resource limits). None: no limit.

    :param cpu_seconds: CPU time; the process gets XCPU, and KILL five seconds of CPU later.
    :param memory_bytes: address space.
    :param open_files: file descriptors.
    :param file_bytes: the largest file that it may write; the process gets XFSZ beyond it.
    """

    cpu_seconds: int | None = None
    memory_bytes: int | None = None
    open_files: int | None = None
    file_bytes: int | None = None
