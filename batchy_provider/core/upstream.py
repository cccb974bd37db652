# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""How far a workflow has loaded its data, for the workflows that load no further than that."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class LoadedUntil:
    """How far a workflow has loaded its data: the least of its enabled jobs.

    :param end: the first moment that is not loaded, naive UTC; None if nobody can say.
    :param job: the job that is loaded least far; None if none is the reason.
    :param why: why `end` is None, as the end of a sentence about the workflow.
    """

    end: datetime | None
    job: str | None = None
    why: str = ""
