# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Store what the jobs of an open batch have left for later ones: ``wf:outputs``, ``<batch_id>/<task>`` → JSON.

It is a copy of the tasks' XComs, so that a job reads those of all earlier jobs with one command, and not with two
calls of Airflow's API for each. Nothing depends on it: what is missing here is read from XCom. So there are no
retries, and no replica is waited for.

The closing task removes the entries of its batch. Those of batches that no task has closed are removed after a week.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from batchy_provider.state.protocol import as_hash

if TYPE_CHECKING:
    from batchy_provider.state.backend import Backend

MAX_BYTES = 64 * 1024
"""Size of an entry. A larger one is not stored, because each later job would read it."""
KEEP_SECONDS = 7 * 24 * 3600

Instance = tuple[str, int]
"""Task id and map index; -1 if the task is not mapped."""


class JobOutputs:
    """The entries of one batch.

    :param workflow: a checked name.
    """

    def __init__(self, backend: Backend, workflow: str, batch_id: int) -> None:
        self._backend = backend
        self._workflow = workflow
        self._batch_id = batch_id
        self._key = backend.keys(workflow).outputs

    def save(self, instance: Instance, entry: Mapping[str, Any]) -> bool:
        """Store the entry of a task that has ended.

        :param entry: JSON values.
        :returns: whether it is stored; False if it is too large. Then an older one is gone, too.
        :raises BatchyError: if Redis cannot be reached, or refuses.
        """
        text = json.dumps(entry, separators=(",", ":"))
        if len(text) > MAX_BYTES:
            self.forget([instance])
            return False
        self._ask("HSET", self._key, self._field(instance), text)
        return True

    def load(self, instances: Collection[Instance]) -> dict[Instance, dict[str, Any]]:
        """Return the entries of some tasks; without those that are missing or cannot be read.

        :raises BatchyError: if Redis cannot be reached, or refuses.
        """
        if not instances:
            return {}
        stored = self._ask("HMGET", self._key, *map(self._field, instances))
        return {
            instance: entry
            for instance, text in zip(instances, stored, strict=True)
            if (entry := _entry(text)) is not None
        }

    def forget(self, instances: Collection[Instance]) -> None:
        """Remove the entries of some tasks.

        :raises BatchyError: if Redis cannot be reached, or refuses.
        """
        if instances:
            self._ask("HDEL", self._key, *map(self._field, instances))

    def forget_batch(self, instances: Collection[Instance]) -> None:
        """Remove the entries of the batch, and those of batches that were opened a week before it.

        :param instances: the tasks of the batch that may have an entry.
        :raises BatchyError: if Redis cannot be reached, or refuses.
        """
        self.forget(instances)
        if not self._ask("HLEN", self._key):
            return
        old = [field for field in as_hash(self._ask("HGETALL", self._key)) if self._is_over(field)]
        if old:
            self._ask("HDEL", self._key, *old)

    def _is_over(self, field: str) -> bool:
        batch_id, _, _ = field.partition("/")
        if not batch_id.isdecimal():
            return True
        return int(batch_id) == self._batch_id or int(batch_id) < self._batch_id - KEEP_SECONDS

    def _field(self, instance: Instance) -> str:
        task, index = instance
        return f"{self._batch_id}/{task}" if index < 0 else f"{self._batch_id}/{task}@{index}"

    def _ask(self, *command: Any) -> Any:
        (reply,) = self._backend.ask(self._workflow, command, retry_seconds=0)
        return reply


def _entry(text: str | None) -> dict[str, Any] | None:
    """Read an entry. One that cannot be read counts as missing."""
    try:
        found = None if text is None else json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
