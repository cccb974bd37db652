# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The result store: what each execution has written, stored whole or not at all.

::

    <root>/<workflow>/<batch_id>/<job>/<attempt>/stdout, stderr   all bytes, secrets masked
                                                 output          if the script wrote to BATCHY_OUTPUT; or the unmasked
                                                                 stdout, if it had secrets and a later job reads it
                                                 files/…         what the script left in BATCHY_OUTPUT_DIR
                                                 exit.json       the record; written last

An execution exists when its ``exit.json`` exists. On a local disk it appears by one rename. In an object store
``exit.json`` is uploaded after all files that it names.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from batchy_provider.bundles.errors import OutputGoneError, ResultError, wrap_store_errors
from batchy_provider.bundles.execution_id import ExecutionId, batch_age, folder_name
from batchy_provider.bundles.execution_record import (
    RECORD,
    StoredExecution,
    belongs_to_try,
    damaged_record,
    finished,
    read_record,
)
from batchy_provider.bundles.result_draft import Draft, RunningExecution, begin_draft, find_running
from batchy_provider.bundles.scratch import ScratchFolder
from batchy_provider.bundles.storage import (
    Content,
    OpenPath,
    copy_hashed,
    drop_listing_cache,
    is_local_path,
    list_names,
    open_local_path,
    walk_files,
)

_DRAFTS = ".drafts"


class ResultStore:
    """Store executions under one root, find them and remove old ones.

    :param url: a local path, or any URL that ``open_path`` understands.
    :param open_path: opens a URL; the default opens local paths only.
    """

    def __init__(self, url: str, open_path: OpenPath = open_local_path) -> None:
        path = open_path(url)
        self._open_path = open_path
        self.is_local = is_local_path(path)
        self.root = path.absolute() if self.is_local else path
        self.url = self.root.as_uri() if self.is_local else url.rstrip("/")

    @contextlib.contextmanager
    def draft(self, identity: ExecutionId, scratch: Path) -> Iterator[Draft]:
        """Begin an execution. Without `Draft.commit` nothing of it is stored.

        :param scratch: a private local folder for the files if the store is not local.
        :raises ResultError: this process cannot write to the store.
        """
        if not self.is_local:
            folder = scratch / "result"
            folder.mkdir(mode=0o700)
            yield Draft(self.root, self.url, identity, folder)
            return
        with contextlib.ExitStack() as stack:
            try:
                scratch_folder = stack.enter_context(ScratchFolder(self.root / _DRAFTS))
                folder = begin_draft(scratch_folder.path, identity)
            except OSError as error:
                raise ResultError(
                    f"The result store {self.url} cannot be written to: {error}. Is `results_url` right? A folder is "
                    "written by one user alone: for tasks with `run_as_user` it must be in an object store."
                ) from error
            yield Draft(self.root, self.url, identity, folder)

    def get(self, identity: ExecutionId) -> StoredExecution:
        """Return one execution.

        :raises ResultError: there is no such execution.
        :raises DamagedRecordError: its record cannot be read.
        """
        found = self._read(identity.parts())
        if found is None:
            raise ResultError(f"There is no execution {self._url(identity.parts())}.")
        return found.checked()

    def find(self, workflow: str, batch_id: str | None = None, job: str | None = None) -> list[StoredExecution]:
        """Return the executions of a workflow, or of one batch or job of it, in the order in which they ended."""
        wanted = (batch_id, job, None)
        found = list(self._walk((folder_name(workflow),), wanted))
        return sorted(found, key=finished)

    def latest(
        self, workflow: str, job: str, batch_id: str | None = None, attempt: str | None = None
    ) -> StoredExecution:
        """Return the last execution of a job.

        :param batch_id: default: the newest batch in which the job was executed.
        :param attempt: the task's try; if it was executed several times, the last execution is returned.
        :raises ResultError: there is no such execution.
        :raises DamagedRecordError: its record cannot be read.
        """
        folder = self._folder((folder_name(workflow),))
        batches = [folder_name(batch_id)] if batch_id is not None else sorted(list_names(folder), key=batch_age)
        numbered = [name for name in batches if name.isdecimal()]
        # One folder after the other: of a long history, only the end is read.
        groups = [[name] for name in reversed(numbered)] + [[name for name in batches if name not in set(numbered)]]
        for group in groups:
            found = [
                execution
                for name in group
                for execution in self._walk((folder_name(workflow), name), (job, None))
                if attempt is None or belongs_to_try(execution, attempt)
            ]
            if found:
                return max(found, key=finished).checked()
        of = f"job {job} of {workflow}" + ("" if batch_id is None else f", batch {batch_id}")
        of += "" if attempt is None else f", attempt {attempt}"
        raise ResultError(
            f"The result store {self.url} has no execution of {of}. Was it pruned, or is it another store?"
        )

    def batches(self, workflow: str) -> list[str]:
        """Return the batches of a workflow that have results, newest first. Runs outside of a workflow come last."""
        names = list_names(self._folder((folder_name(workflow),)))
        return sorted(names, key=batch_age, reverse=True)

    def running(self, workflow: str, job: str, batch_id: str | None = None) -> list[RunningExecution]:
        """Return the executions of a job that run now and write here. The last one is the one that began last.

        :raises ResultError: the store is not a local folder, so it has no executions that still run.
        """
        if not self.is_local:
            raise ResultError(
                f"The result store {self.url} is not a local folder, so it has the output of a job only after the job "
                "has ended. Until then, see the task log in Airflow."
            )
        return find_running(self.root / _DRAFTS, workflow, job, batch_id)

    def workflows(self) -> list[str]:
        """Return the names of all workflows that have results, and of such DAGs outside of any workflow."""
        workflows = set()
        for name in list_names(self.root):
            if folder_name(name) == name:
                workflows.add(name)
                continue
            first = next(self._walk((name,), (None, None, None)), None)
            if first is not None:
                workflows.add(str(first.record["workflow"]))
        return sorted(workflows)

    def prune(self, workflow: str, *, keep: int, spare: Collection[str] = ()) -> int:
        """Remove the results of all but the newest batches.

        :param keep: how many batches stay; 0 removes all.
        :param spare: ids of batches that stay in any case.
        :returns: how many batches were removed.
        """
        folder = folder_name(workflow)
        ages: dict[str, tuple[int, str]] = {}
        for name in list_names(self._folder((folder,))):
            ages[name] = batch_age(name)
            if ages[name][0] < 0:
                ended = [finished(each) for each in self._walk((folder, name), (None, None))]
                if not ended:
                    del ages[name]  # it is empty, or is being written at this moment
                    continue
                ages[name] = (-1, max(ended))
        stay = {folder_name(batch_id) for batch_id in spare}
        gone = [name for name in sorted(ages, key=lambda name: ages[name], reverse=True)[keep:] if name not in stay]
        for name in gone:
            self.discard(self.root / folder / name)
        return len(gone)

    def remove(self, workflow: str) -> int:
        """Remove the results of all batches.

        :returns: how many batches were removed.
        """
        removed = self.prune(workflow, keep=0)
        if self.is_local:
            with contextlib.suppress(OSError):  # a job writes into it at this moment, or there is no such folder
                (self.root / folder_name(workflow)).rmdir()
        return removed

    def fetch(self, reference: Mapping[str, Any], into: Path) -> None:
        """Copy the file that a reference names to a new local file.

        :param reference: ``{url, bytes, sha256}``, see `StoredExecution.reference`.
        :raises OutputGoneError: the file is gone.
        :raises ResultError: the file was changed since the reference was made, or secrets were masked in it.
        """
        url = str(reference["url"])
        if reference.get("masked"):
            raise ResultError(
                f"The output {url} cannot be an input: it is what a script printed, and {reference['masked']} secrets "
                "in it were masked. Let the script write its data to $BATCHY_OUTPUT, which is never masked."
            )
        with wrap_store_errors(
            ResultError, f"The output {url} cannot be read", "Check the store, then run the job again"
        ):
            try:
                with drop_listing_cache(self._open_path(url)).open("rb") as source, into.open("xb") as target:
                    found = copy_hashed(source, target)
            except FileNotFoundError:
                raise OutputGoneError(url) from None
        if found != Content(reference["bytes"], reference["sha256"]):
            raise ResultError(
                f"The output {url} was changed: expected {reference['bytes']:,} bytes with sha256 "
                f"{reference['sha256']}, found {found.size:,} with {found.sha256}."
            )

    def _folder(self, parts: tuple[str, ...]) -> Any:
        path = self.root
        for part in parts:
            path = path / part
        return path

    def _url(self, parts: tuple[str, ...]) -> str:
        return "/".join((self.url, *parts))

    def _read(self, parts: tuple[str, ...]) -> StoredExecution | None:
        folder, url = self._folder(parts), self._url(parts)
        try:
            with drop_listing_cache(folder / RECORD).open("rb") as file:
                text = file.read()
        except FileNotFoundError:
            return None
        try:
            return StoredExecution(url, folder, read_record(text))
        except ValueError as error:
            damage = f"The record {url}/{RECORD} cannot be read: {error}."
            return StoredExecution(url, folder, damaged_record(parts, damage))

    def _walk(self, parts: tuple[str, ...], wanted: tuple[str | None, ...]) -> Iterator[StoredExecution]:
        """Yield all executions below a folder, also those with a damaged record, see `StoredExecution.damage`."""
        if not wanted:
            found = self._read(parts)
            if found is not None:
                yield found
            return
        names = [folder_name(wanted[0])] if wanted[0] is not None else list_names(self._folder(parts))
        for name in names:
            yield from self._walk((*parts, name), wanted[1:])

    def discard(self, folder: Any) -> None:
        """Remove a folder of the store. Records go first, so that nothing half removed counts as an execution."""
        if self.is_local:
            with ScratchFolder(self.root / _DRAFTS) as scratch:
                folder.rename(scratch.path / "gone")
            return
        files = list(walk_files(folder))
        for path in sorted(files, key=lambda path: path.name != RECORD):
            path.unlink()
        # Only stores that have folders keep empty ones.
        folders = {parent for path in files for parent in path.parents if str(parent).startswith(str(folder))}
        for empty in sorted(folders, key=lambda path: -len(str(path))):
            with contextlib.suppress(Exception):
                empty.rmdir()
