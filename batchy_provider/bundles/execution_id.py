# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The identity of an execution, the names of its folders, and the command that shows its output."""

from __future__ import annotations

import hashlib
import re
import shlex
from dataclasses import dataclass

_PLAIN = re.compile(r"[A-Za-z0-9_.@-]")
_NAME_LENGTH = 200
RESERVED = (".drafts", ".archive")
"""Folders of the result store that do not belong to a workflow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionId:
    """The identity of one execution.

    :param batch_id: the batch; outside of a workflow, any name of the run.
    :param attempt: the task's try. The second execution of try ``1`` is ``1.2``.
    """

    workflow: str
    batch_id: str
    job: str
    attempt: str

    def parts(self) -> tuple[str, str, str, str]:
        """Return the names of the folders in the result store, from the root down."""
        return (
            folder_name(self.workflow),
            folder_name(self.batch_id),
            folder_name(self.job),
            folder_name(self.attempt),
        )

    def command(self, results_url: str) -> str:
        """Return the shell command that shows what this execution wrote."""
        words = ["batchy", "logs", self.workflow, self.job, "--batch", self.batch_id, "--attempt", self.attempt]
        return shlex.join([*words, "--results", results_url])


def folder_name(text: str) -> str:
    """Return a text as a folder name that any store can have. Other characters become ``=XX``."""
    name = "".join(c if _PLAIN.match(c) else "".join(f"={b:02X}" for b in c.encode()) for c in text)
    if name.strip(".") == "":
        name = name.replace(".", "=2E")
    if name in RESERVED:
        name = name.replace(".", "=2E", 1)
    if len(name) > _NAME_LENGTH:
        name = f"{name[: _NAME_LENGTH - 20]}={hashlib.sha256(text.encode()).hexdigest()[:16]}"
    return name


def name_from_folder(folder: str) -> str:
    """Return the text that `folder_name` made a folder name from; of a long text, only the beginning."""
    raw = re.sub(rb"=([0-9A-F]{2})", lambda found: bytes.fromhex(found[1].decode()), folder.encode())
    return raw.decode("utf-8", "replace")


def batch_age(name: str) -> tuple[int, str]:
    """Return a key that sorts batches by age, oldest first. Runs outside of a workflow, of unknown age, come first."""
    return (int(name), name) if name.isdecimal() else (-1, name)
