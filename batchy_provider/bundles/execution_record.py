# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""One execution as the result store has it: its record, its files, and the reference that later jobs get."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

from batchy_provider.bundles.errors import DamagedRecordError, ResultError
from batchy_provider.bundles.execution_id import ExecutionId, name_from_folder
from batchy_provider.bundles.storage import drop_listing_cache


@dataclass(frozen=True, slots=True)
class StoredExecution:
    """
    One execution in the store.

    :param record: what ``exit.json`` says
    """

    url: str
    path: Any
    record: Mapping[str, Any]

    @property
    def damage(self) -> str | None:
        """Why its record cannot be read; None if it can."""
        return self.record.get("damage")

    def checked(self) -> StoredExecution:
        """
        Return the execution.

        :raises DamagedRecordError: its record cannot be read
        """
        if self.damage is not None:
            raise DamagedRecordError(f"{self.damage} Restore it from a backup, or run the job again.")
        return self

    def command(self) -> str:
        """The command that shows what the script wrote, to be pasted into a shell."""
        workflow, batch_id, job, attempt = (str(self.record[key]) for key in ("workflow", "batch_id", "job", "attempt"))
        identity = ExecutionId(workflow=workflow, batch_id=batch_id, job=job, attempt=attempt)
        place = len("/".join(identity.parts())) + 1
        return identity.command(self.url[:-place])

    def open(self, name: str) -> BinaryIO:
        """
        Open ``stdout``, ``stderr``, ``output`` or ``files/…`` to read its bytes.

        :raises ResultError: the execution has no such file
        """
        if name not in self.record["contents"]:
            known = ", ".join(self.record["contents"])
            raise ResultError(f"Execution {self.url} has no file {name!r}. It has: {known}.")
        path = self.path
        for part in name.split("/"):
            path = path / part
        opened: BinaryIO = drop_listing_cache(path).open("rb")
        return opened

    def reference(self, name: str | None = None) -> dict[str, Any]:
        """
        What a later job needs to read a file: ``{url, bytes, sha256}``; ``masked`` where secrets were masked in it.

        :param name: default: the output
        """
        name = name or self.record["output"]
        reference = {"url": f"{self.url}/{name}", **self.record["contents"][name]}
        masked = self.record.get("masked", {}).get(name)
        return {**reference, "masked": masked} if masked else reference


def read_record(text: bytes) -> dict[str, Any]:
    """
    Read what ``exit.json`` says.

    :raises ValueError: it is damaged
    """
    try:
        record = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(record, dict):
        raise ValueError("expected a JSON object")
    for name in ("workflow", "batch_id", "job", "attempt", "output", "contents"):
        if name not in record:
            raise ValueError(f"{name!r} is missing")
    contents = record["contents"]
    if not isinstance(contents, dict) or not all(
        isinstance(facts, dict) and isinstance(facts.get("bytes"), int) and isinstance(facts.get("sha256"), str)
        for facts in contents.values()
    ):
        raise ValueError("'contents' is not what it must be")
    return record


def damaged_record(parts: tuple[str, ...], damage: str) -> dict[str, Any]:
    """
    Return what stands for a record that cannot be read: whose it is, by its place, and why.

    :param parts: names of its folders
    """
    workflow, batch_id, job, attempt = map(name_from_folder, parts)
    return {
        "workflow": workflow,
        "batch_id": batch_id,
        "job": job,
        "attempt": attempt,
        "state": None,
        "reason": damage,
        "damage": damage,
        "output": "stdout",
        "contents": {},
    }


def belongs_to_try(execution: StoredExecution, attempt: str) -> bool:
    """Tell whether it belongs to a try: `1` names `1.2` too."""
    stored = str(execution.record["attempt"])
    return stored == attempt or stored.partition(".")[0] == attempt


def finished(execution: StoredExecution) -> str:
    """When it ended; sorts."""
    return str(execution.record.get("finished"))
