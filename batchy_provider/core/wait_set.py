# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Combine the verdicts of one or several waits: done when all are done, failed when one has failed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from batchy_provider.core.vocabulary import WaitState
from batchy_provider.core.wait_intervals import Shortfall
from batchy_provider.core.waits import Verdict


class WaitSet:
    """Hold the latest verdict of each wait.

    :param workflows: the workflows waited for, each once.
    """

    def __init__(self, workflows: Iterable[str]) -> None:
        self._latest: dict[str, Verdict | None] = dict.fromkeys(workflows)

    def take(self, workflow: str, verdict: Verdict) -> bool:
        """Take a verdict.

        :returns: whether its text differs from that of the last verdict.
        """
        before = self._latest[workflow]
        self._latest[workflow] = verdict
        return before is None or before.text != verdict.text

    @property
    def state(self) -> WaitState:
        """State of all waits together."""
        states = {"waiting" if verdict is None else verdict.state for verdict in self._latest.values()}
        if "failed" in states:
            return "failed"
        return "done" if states == {"done"} else "waiting"

    @property
    def text(self) -> str:
        """Sentence that says what ended the waits, or what they still wait for."""
        wanted = self.state
        return "; ".join(v.text for v in self._latest.values() if v is not None and v.state == wanted)

    @property
    def codes(self) -> dict[str, str | None]:
        """Workflow → code of its latest verdict."""
        latest = {name: verdict.code for name, verdict in self._latest.items() if verdict is not None}
        return {name: None if code is None else code.value for name, code in latest.items()}

    @property
    def intervals(self) -> dict[str, Sequence[Shortfall]]:
        """Workflow → what the ledger says of it, where the ledger decides."""
        latest = {name: verdict.intervals for name, verdict in self._latest.items() if verdict is not None}
        return {name: intervals for name, intervals in latest.items() if intervals}

    @property
    def missing(self) -> list[str]:
        """The workflows that have not succeeded."""
        return [name for name, verdict in self._latest.items() if verdict is None or verdict.state != "done"]

    @property
    def batches(self) -> dict[str, int | None]:
        """Workflow → id of the batch that ended its wait."""
        return {name: verdict.batch_id for name, verdict in self._latest.items() if verdict is not None}
