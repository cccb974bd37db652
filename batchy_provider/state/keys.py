# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The Redis keys of a workflow, and the channel on which changes are published."""

from __future__ import annotations

from dataclasses import dataclass, field

EVENTS_CHANNEL = "batchy:events"


@dataclass(frozen=True, slots=True)
class Keys:
    """The Redis keys of one workflow.

    :param workflow: a checked name.
    :param cluster: put the name in braces, so that all keys of a workflow share one hash slot.
    """

    workflow: str
    cluster: bool = False
    _live: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_live", f"{{{self.workflow}}}" if self.cluster else self.workflow)

    @property
    def all(self) -> tuple[str, ...]:
        """Every key of the workflow, except the hashes of its batches."""
        return (
            self.live,
            self.meta,
            self.runs,
            self.closed,
            self.loaded,
            self.days,
            self.history,
            self.durations,
            self.progress,
            self.outputs,
            self.offsets,
        )

    @property
    def sorted_sets(self) -> tuple[str, ...]:
        """Those of `all` that are sorted sets; the others are hashes."""
        return (self.closed, self.history)

    @property
    def live(self) -> str:
        """Hash, job → JSON: the latest batch."""
        return self._live

    def batch(self, batch_id: int) -> str:
        """Hash, job → JSON: one batch of the history."""
        return f"{self._live}-{batch_id}"

    @property
    def meta(self) -> str:
        """Hash: what only this package writes: configuration, owner, audit entries, records."""
        return f"{self._live}:meta"

    @property
    def runs(self) -> str:
        """Hash: run key → batch id."""
        return f"{self._live}:runs"

    @property
    def closed(self) -> str:
        """Sorted set: closed live batches by ``batch_end``, Unix seconds."""
        return f"{self._live}:closed"

    @property
    def loaded(self) -> str:
        """Hash: job → JSON, the intervals that it has loaded: the ledger."""
        return f"{self._live}:loaded"

    @property
    def days(self) -> str:
        """Hash of earlier releases: data day → id of its last successful batch. The ledger takes it over."""
        return f"{self._live}:days"

    @property
    def history(self) -> str:
        """Sorted set: all batch ids, scored by themselves."""
        return f"{self._live}:history"

    @property
    def durations(self) -> str:
        """Hash: job → JSON, how long its latest successful executions took."""
        return f"{self._live}:durations"

    @property
    def progress(self) -> str:
        """Hash: job → JSON with the latest progress of its execution."""
        return f"{self._live}:progress"

    @property
    def outputs(self) -> str:
        """Hash: batch id and task → JSON, what a task of an open batch has left for later ones."""
        return f"{self._live}:outputs"

    @property
    def offsets(self) -> str:
        """Hash: subscription → JSON, its offset and its leases."""
        return f"{self._live}:told"
