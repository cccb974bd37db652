# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""One stored execution: its record, its files, and the reference that later jobs get."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

from batchy_provider.bundles.errors import DamagedRecordError, ResultError
from batchy_provider.bundles.execution_id import ExecutionId, name_from_folder
from batchy_provider.bundles.storage import drop_listing_cache, join

RECORD = "exit.json"


@dataclass(frozen=True, slots=True)
class StoredExecution:
    """One execution in the result store.

    :param url: URL of its folder.
    :param path: its folder, as an object with the `pathlib` API.
    :param record: the content of ``exit.json``.
    """

    url: str
    path: Any
    record: Mapping[str, Any]

    @property
    def damage(self) -> str | None:
        """Say why its record cannot be read; None if it can."""
        return self.record.get("damage")

    def checked(self) -> StoredExecution:
        """Return the execution itself, if its record can be read.

        :raises DamagedRecordError: it cannot.
        """
        if self.damage is not None:
            raise DamagedRecordError(f"{self.damage} Restore it from a backup, or run the job again.")
        return self

    def command(self) -> str:
        """Return the shell command that shows what the script wrote."""
        workflow, batch_id, job, attempt = (str(self.record[key]) for key in ("workflow", "batch_id", "job", "attempt"))
        identity = ExecutionId(workflow=workflow, batch_id=batch_id, job=job, attempt=attempt)
        folders = "/" + "/".join(identity.parts())
        return identity.command(self.url[: -len(folders)])

    def open(self, name: str) -> BinaryIO:
        """Open ``stdout``, ``stderr``, ``output`` or ``files/…`` for reading.

        :raises ResultError: the execution has no such file.
        """
        if name not in self.record["contents"]:
            known = ", ".join(self.record["contents"])
            raise ResultError(f"Execution {self.url} has no file {name!r}. It has: {known}.")
        opened: BinaryIO = drop_listing_cache(join(self.path, name)).open("rb")
        return opened

    def reference(self, name: str | None = None) -> dict[str, Any]:
        """Return what a later job needs to read a file: ``{url, bytes, sha256}``.

        If secrets were masked in the file, the reference has their number, too, as ``masked``.

        :param name: of the file; default: the output.
        """
        name = name or self.record["output"]
        reference = {"url": f"{self.url}/{name}", **self.record["contents"][name]}
        masked = self.record.get("masked", {}).get(name)
        return {**reference, "masked": masked} if masked else reference


def read_record(text: bytes) -> dict[str, Any]:
    """Parse the content of ``exit.json``.

    :raises ValueError: it is damaged.
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
    """Return a substitute for a record that cannot be read.

    :param parts: names of its folders, which say whose record it is.
    :param damage: a sentence that says why it cannot be read.
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
    """Tell whether an execution belongs to a try. `1.2` is the second execution of try `1`."""
    stored = str(execution.record["attempt"])
    return stored == attempt or stored.partition(".")[0] == attempt


def finished(execution: StoredExecution) -> str:
    """Return when an execution ended, as a text to sort by."""
    return str(execution.record.get("finished"))
