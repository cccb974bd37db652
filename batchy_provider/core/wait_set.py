# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""What one or several waits have come to together: done when all are, failed when one has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from batchy_provider.core.waits import Verdict, Wait


class Tally:
    """The latest verdict of each wait.

    :param waits: for workflows that differ.
    """

    def __init__(self, waits: Sequence[Wait]) -> None:
        self._latest: dict[str, Verdict | None] = {wait.workflow: None for wait in waits}
        self._said: dict[str, str] = {}

    def take(self, workflow: str, verdict: Verdict) -> bool:
        """Take a verdict; tell whether it says what the last one did not."""
        self._latest[workflow] = verdict
        is_new = self._said.get(workflow) != verdict.text
        self._said[workflow] = verdict.text
        return is_new

    @property
    def state(self) -> Literal["done", "failed", "waiting"]:
        """How they stand together."""
        states = {"waiting" if verdict is None else verdict.state for verdict in self._latest.values()}
        if "failed" in states:
            return "failed"
        return "done" if states == {"done"} else "waiting"

    @property
    def text(self) -> str:
        """What ended them, or what they still wait for."""
        wanted = self.state
        return "; ".join(v.text for v in self._latest.values() if v is not None and v.state == wanted)

    @property
    def batches(self) -> dict[str, int | None]:
        """Workflow → the batch that ended its wait."""
        return {name: verdict.batch_id for name, verdict in self._latest.items() if verdict is not None}
