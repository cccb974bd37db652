# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""How long the jobs of the past runs of a workflow took, as a table: a thousand workflows have a million entries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    Numbers = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


@dataclass(frozen=True, slots=True)
class DurationTable:
    """How long the jobs of past successful runs took.

    :param jobs: one for each column.
    :param starts: when each run began, Unix seconds, in order; one for each row.
    :param seconds: run and job → how long the job took; not a number where it has not succeeded.
    :param windows: length of the window of each run, in seconds; 0 for an empty one.
    """

    jobs: tuple[str, ...]
    starts: Numbers
    seconds: Numbers
    windows: Numbers
