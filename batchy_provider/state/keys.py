# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The Redis keys of a workflow, and the channel on which changes are published."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from batchy_provider.core.lazy import calculated_once
from batchy_provider.core.names import check_workflow_name

EVENTS_CHANNEL = "batchy:events"


@dataclass(frozen=True)
class Keys:
    """The Redis keys of one workflow.

    :param workflow: a checked name.
    :param cluster: put the name in braces, so that all keys of a workflow share one hash slot.
    """

    workflow: str
    cluster: bool = False

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

    @calculated_once
    def live(self) -> str:
        """Hash, job → JSON: the latest batch."""
        return f"{{{self.workflow}}}" if self.cluster else self.workflow

    def batch(self, batch_id: int) -> str:
        """Hash, job → JSON: one batch of the history."""
        return f"{self.live}-{batch_id}"

    @calculated_once
    def meta(self) -> str:
        """Hash: what only this package writes: configuration, owner, audit entries, records."""
        return f"{self.live}:meta"

    @calculated_once
    def runs(self) -> str:
        """Hash: run key → batch id."""
        return f"{self.live}:runs"

    @calculated_once
    def closed(self) -> str:
        """Sorted set: closed live batches by ``batch_end``, Unix seconds."""
        return f"{self.live}:closed"

    @calculated_once
    def loaded(self) -> str:
        """Hash: job → JSON, the intervals that it has loaded: the ledger."""
        return f"{self.live}:loaded"

    @calculated_once
    def days(self) -> str:
        """Hash of earlier releases: data day → id of its last successful batch. The ledger takes it over."""
        return f"{self.live}:days"

    @calculated_once
    def history(self) -> str:
        """Sorted set: all batch ids, scored by themselves."""
        return f"{self.live}:history"

    @calculated_once
    def durations(self) -> str:
        """Hash: job → JSON, how long its latest successful executions took."""
        return f"{self.live}:durations"

    @calculated_once
    def progress(self) -> str:
        """Hash: job → JSON with the latest progress of its execution."""
        return f"{self.live}:progress"

    @calculated_once
    def outputs(self) -> str:
        """Hash: batch id and task → JSON, what a task of an open batch has left for later ones."""
        return f"{self.live}:outputs"

    @calculated_once
    def offsets(self) -> str:
        """Hash: subscription → JSON, its offset and its leases."""
        return f"{self.live}:told"


@lru_cache(maxsize=256)
def keys_of(workflow: str, cluster: bool) -> Keys:
    """Return the keys of a workflow, checked and made once: an opening and a closing name some of them many times.

    :raises InvalidNameError: if the name is not valid.
    """
    return Keys(check_workflow_name(workflow), cluster)
