# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""
What an execution left behind, kept whole or not at all.

::

    <root>/<workflow>/<batch_id>/<job>/<attempt>/stdout, stderr   raw bytes
                                                 output          if the script wrote to BATCHY_OUTPUT
                                                 files/…         what it left in BATCHY_OUTPUT_DIR
                                                 exit.json       the record; written last

An execution exists when its ``exit.json`` does. On a local disk it appears by one rename; in an object store
``exit.json`` is uploaded after all that it speaks of.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import unquote, urlsplit

from batchy_provider.bundles.errors import ResultError
from batchy_provider.bundles.files import copy_checked, digest_of, kept_files
from batchy_provider.bundles.scratch import ScratchFolder
from batchy_provider.bundles.unpack import sync_folder

RECORD = "exit.json"
_DRAFTS = ".drafts"
_PLAIN = re.compile(r"[A-Za-z0-9_.@-]")
_NAME_LENGTH = 200

OpenPath = Callable[[str], Any]
"""From a URL to an object with the `pathlib` API."""


def local_path(url: str) -> Path:
    """
    The path that a ``file:`` URL or a plain path names.

    :raises ResultError: it is a URL of another kind
    """
    parts = urlsplit(url)
    if parts.scheme == "file":
        return Path(unquote(parts.path))
    if parts.scheme:
        raise ResultError(f"Results at {url} cannot be read here: only local paths can be.")
    return Path(url)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionId:
    """
    Which execution.

    :param batch_id: the batch; outside of a workflow any name of the run
    :param attempt: the task's try; a second execution of the same try is ``1.2``
    """

    workflow: str
    batch_id: str
    job: str
    attempt: str

    def parts(self) -> tuple[str, str, str, str]:
        """The names of the folders, from the root down."""
        return _name(self.workflow), _name(self.batch_id), _name(self.job), _name(self.attempt)


@dataclass(frozen=True, slots=True)
class StoredExecution:
    """
    One execution in the store.

    :param record: what ``exit.json`` says
    """

    url: str
    path: Any
    record: Mapping[str, Any]

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
        opened: BinaryIO = path.open("rb")
        return opened

    def reference(self, name: str | None = None) -> dict[str, Any]:
        """
        What a later job needs to read a file: ``{url, bytes, sha256}``.

        :param name: default: the output
        """
        name = name or self.record["output"]
        return {"url": f"{self.url}/{name}", **self.record["contents"][name]}


class ResultStore:
    """
    Executions under one root.

    :param url: a local path, or any URL that ``open_path`` understands
    :param open_path: makes the object with the `pathlib` API; default: local paths alone
    """

    def __init__(self, url: str, open_path: OpenPath = local_path) -> None:
        path = open_path(url)
        self._open_path = open_path
        self.is_local = isinstance(path, Path)
        self.root = path.absolute() if self.is_local else path
        self.url = self.root.as_uri() if self.is_local else url.rstrip("/")

    @contextlib.contextmanager
    def draft(self, identity: ExecutionId, scratch: Path) -> Iterator[Draft]:
        """
        Begin an execution; without `Draft.commit` nothing of it is kept.

        :param scratch: a private local folder, used where the store is not local
        """
        if not self.is_local:
            folder = scratch / "result"
            folder.mkdir(mode=0o700)
            yield Draft(self, identity, folder)
            return
        with contextlib.ExitStack() as stack:
            try:
                own = stack.enter_context(ScratchFolder(self.root / _DRAFTS))
                folder = own.path / "result"
                folder.mkdir()
            except OSError as error:
                raise ResultError(
                    f"The result store {self.url} cannot be written to: {error}. Is `results_url` right?"
                ) from None
            yield Draft(self, identity, folder)

    def get(self, identity: ExecutionId) -> StoredExecution:
        """
        Read back one execution.

        :raises ResultError: there is none
        """
        found = self._read(self._folder(identity.parts()), self._url(identity.parts()))
        if found is None:
            raise ResultError(f"There is no execution {self._url(identity.parts())}.")
        return found

    def find(self, workflow: str, batch_id: str | None = None, job: str | None = None) -> list[StoredExecution]:
        """All executions of a workflow, of one batch or one job, in the order in which they ended."""
        wanted = (batch_id, job, None)
        found = list(self._walk(self._folder((_name(workflow),)), (_name(workflow),), wanted))
        return sorted(found, key=lambda execution: str(execution.record.get("finished")))

    def prune(self, workflow: str, *, keep: int) -> int:
        """
        Remove the results of all but the newest batches.

        :param keep: how many batches stay; 0 removes all
        :return: how many batches were removed
        """
        newest: dict[str, str] = {}
        for execution in self.find(workflow):
            newest[execution.record["batch_id"]] = str(execution.record.get("finished"))
        gone = sorted(newest, key=lambda batch_id: newest[batch_id], reverse=True)[keep:]
        for batch_id in gone:
            self._remove(self._folder((_name(workflow), _name(batch_id))))
        return len(gone)

    def fetch(self, reference: Mapping[str, Any], into: Path) -> None:
        """
        Copy what a reference names to a local file.

        :raises ResultError: it is gone, or not what it was when the reference was made
        """
        url = str(reference["url"])
        try:
            with self._open_path(url).open("rb") as source:
                found = copy_checked(source, into)
        except FileNotFoundError:
            raise ResultError(f"The output {url} is gone. Was the result store pruned? Run that job again.") from None
        if found != {"bytes": reference["bytes"], "sha256": reference["sha256"]}:
            raise ResultError(
                f"The output {url} was changed: expected {reference['bytes']:,} bytes with sha256 "
                f"{reference['sha256']}, found {found['bytes']:,} with {found['sha256']}."
            )

    def _folder(self, parts: tuple[str, ...]) -> Any:
        path = self.root
        for part in parts:
            path = path / part
        return path

    def _url(self, parts: tuple[str, ...]) -> str:
        return "/".join((self.url, *parts))

    def _read(self, folder: Any, url: str) -> StoredExecution | None:
        try:
            with (folder / RECORD).open("rb") as file:
                record = json.loads(file.read())
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise ResultError(f"The record {url}/{RECORD} cannot be read: {error}.") from None
        return StoredExecution(url, folder, record)

    def _walk(self, folder: Any, parts: tuple[str, ...], wanted: tuple[str | None, ...]) -> Iterator[StoredExecution]:
        if not wanted:
            found = self._read(folder, self._url(parts))
            if found is not None:
                yield found
            return
        names = [_name(wanted[0])] if wanted[0] is not None else _names(folder)
        for name in names:
            yield from self._walk(folder / name, (*parts, name), wanted[1:])

    def _remove(self, folder: Any) -> None:
        """Records go first: what is half removed is no execution any more."""
        if self.is_local:
            with ScratchFolder(self.root / _DRAFTS) as own:
                folder.rename(own.path / "gone")
            return
        files = list(_files_below(folder))
        for path in sorted(files, key=lambda path: path.name != RECORD):
            path.unlink()

    def commit(self, identity: ExecutionId, folder: Path, record: Mapping[str, Any]) -> StoredExecution:
        """Keep a draft; see :meth:`Draft.commit`."""
        contents = {name: digest_of(folder / name) for name in kept_files(folder)}
        whole = {
            "version": 1,
            "workflow": identity.workflow,
            "batch_id": identity.batch_id,
            "job": identity.job,
            "attempt": identity.attempt,
            **record,
            "output": "output" if "output" in contents else "stdout",
            "contents": contents,
        }
        for number in range(1, 1000):
            attempt = identity.attempt if number == 1 else f"{identity.attempt}.{number}"
            whole["attempt"] = attempt
            (folder / RECORD).write_text(json.dumps(whole, indent=1))
            parts = (*identity.parts()[:3], _name(attempt))
            keep = self._move if self.is_local else self._upload
            if keep(folder, self._folder(parts), contents):
                return StoredExecution(self._url(parts), self._folder(parts), whole)
        raise ResultError(f"There are a thousand executions of {self._url(identity.parts())} already.")

    def _move(self, folder: Path, target: Path, contents: Mapping[str, Any]) -> bool:
        digest_of(folder / RECORD)  # on disk before the name is
        sync_folder(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            folder.rename(target)
        except OSError:
            if target.exists():
                return False
            raise
        sync_folder(target.parent)
        return True

    def _upload(self, folder: Path, target: Any, contents: Mapping[str, Any]) -> bool:
        if (target / RECORD).exists():
            return False
        with contextlib.suppress(Exception):  # an object store has no folders to make
            target.mkdir(parents=True, exist_ok=True)
        done = []
        try:
            for name in (*contents, RECORD):
                path = target
                for part in name.split("/"):
                    path = path / part
                done.append(path)
                with (folder / name).open("rb") as source, path.open("wb") as out:
                    shutil.copyfileobj(source, out, 1024 * 1024)
        except BaseException:
            for path in done:
                with contextlib.suppress(Exception):
                    path.unlink()
            raise
        return True


@dataclass(frozen=True, slots=True)
class Draft:
    """
    An execution that is still running.

    :param folder: where its files are written: ``stdout``, ``stderr``, ``output``, ``files/``
    """

    store: ResultStore
    identity: ExecutionId
    folder: Path

    def commit(self, record: Mapping[str, Any]) -> StoredExecution:
        """
        Keep it: all of it, or nothing if this raises.

        :param record: how it ended; goes into ``exit.json``
        """
        return self.store.commit(self.identity, self.folder, record)


def _name(text: str) -> str:
    """A text as one plain folder name on any store; other characters become ``=XX``."""
    name = "".join(c if _PLAIN.match(c) else "".join(f"={b:02X}" for b in c.encode()) for c in text)
    if name.strip(".") == "":
        name = name.replace(".", "=2E")
    if len(name) > _NAME_LENGTH:
        name = f"{name[: _NAME_LENGTH - 20]}={hashlib.sha256(text.encode()).hexdigest()[:16]}"
    return name


def _names(folder: Any) -> list[str]:
    try:
        return sorted(child.name for child in folder.iterdir() if not child.name.startswith("."))
    except (FileNotFoundError, NotADirectoryError):
        return []


def _files_below(folder: Any) -> Iterator[Any]:
    for child in folder.iterdir():
        if child.is_dir():
            yield from _files_below(child)
        else:
            yield child
