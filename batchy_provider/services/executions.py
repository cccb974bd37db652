# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Show what each execution wrote, from the result store, and the bundles that executions ran."""

from __future__ import annotations

import contextlib
import os
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, BinaryIO

from batchy_provider.bundles.bundle_source import Source
from batchy_provider.bundles.confined_files import (
    OutsideFolderError,
    as_local_path,
    copy_bundle_below,
    is_on_disk,
    open_below,
    path_below,
)
from batchy_provider.bundles.errors import ResultError
from batchy_provider.bundles.execution_id import ExecutionId
from batchy_provider.bundles.limits import UnpackLimits
from batchy_provider.bundles.storage import copy_stream, read_chunks
from batchy_provider.bundles.unpack import check_entries
from batchy_provider.bundles.zip_index import read_index
from batchy_provider.config.bundle_paths import locate_bundle
from batchy_provider.config.diagnostics import did_you_mean
from batchy_provider.exceptions import ConfigError, UnknownJobError
from batchy_provider.services.answers import Page

if TYPE_CHECKING:
    from batchy_provider.bundles.execution_record import StoredExecution
    from batchy_provider.bundles.result_store import ResultStore
    from batchy_provider.bundles.storage import OpenPath


_OUTSIDE = (
    "it lies outside of the folder of workflow files, or behind a link that leads out of it; this server gives out "
    "only bundles in that folder and on object stores."
)
_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionView:
    """Show an execution that has ended.

    :param state: ``success``, ``failed`` or ``skipped``.
    :param exit_code: exit code of the script; None if it was killed or never ran.
    :param output: the file that the next job gets as its input.
    :param contents: file → ``bytes`` and ``sha256``.
    """

    workflow: str
    batch_id: str
    job: str
    attempt: str
    state: str | None = None
    exit_code: int | None = None
    started: str | None = None
    finished: str | None = None
    output: str = "stdout"
    contents: dict[str, dict[str, Any]] = field(default_factory=dict)
    bundle: str | None = None
    sha256: str | None = None

    @classmethod
    def of(cls, stored: StoredExecution) -> ExecutionView:
        """Show an execution of the store."""
        record: Mapping[str, Any] = stored.record
        bundle = record.get("bundle")
        source = bundle if isinstance(bundle, Mapping) else {"name": bundle}
        return cls(
            workflow=str(record["workflow"]),
            batch_id=str(record["batch_id"]),
            job=str(record["job"]),
            attempt=str(record["attempt"]),
            state=record.get("state"),
            exit_code=record.get("exit_code"),
            started=record.get("started"),
            finished=record.get("finished"),
            output=str(record["output"]),
            contents={name: dict(facts) for name, facts in record["contents"].items()},
            bundle=source.get("name"),
            sha256=source.get("sha256"),
        )


@dataclass(frozen=True, slots=True)
class ResultFile:
    """Read a file of an execution, in parts.

    :param size: in bytes.
    :param sha256: of the whole file, in hex.
    :param root: folder of a result store on this machine. The file is opened only below it, and not through a link.
    """

    execution: StoredExecution
    name: str
    size: int
    sha256: str
    root: Path | None = None

    def read(self, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Yield the bytes in chunks.

        :param start: offset of the first byte.
        :param end: offset after the last byte; None for the end of the file.
        """
        with self._open() as file:
            file.seek(start)
            yield from read_chunks(file, (self.size if end is None else end) - start)

    @contextlib.contextmanager
    def _open(self) -> Iterator[BinaryIO]:
        if self.root is None:
            with self.execution.open(self.name) as file:
                yield file
            return
        place = PurePath(self.execution.path, *self.name.split("/")).relative_to(self.root)
        try:
            with open_below(self.root, place) as found, os.fdopen(os.dup(found), "rb") as file:
                yield file
        except OSError as error:
            raise ResultError(f"{self.name} cannot be read: {error.strerror or error}") from None


class ExecutionService:
    """Show executions, and give out their files and the bundles that they run.

    :param results: returns the result store.
    :param cfg: the folder of workflow files.
    :param open_path: from the path or URL of a bundle to an object with the `pathlib` API.
    :param is_server: this process serves other users than its own. Then local bundles must be below `cfg`, and no link
        is followed.
    """

    def __init__(
        self,
        *,
        results: Callable[[], ResultStore],
        cfg: Path,
        open_path: OpenPath = Path,
        is_server: bool = False,
    ) -> None:
        self._results = results
        self._cfg = cfg
        self._open_path = open_path
        self._is_server = is_server

    def find(
        self,
        workflow: str,
        *,
        batch_id: str | None = None,
        job: str | None = None,
        limit: int = 20,
        offset: int = 0,
    ) -> Page[ExecutionView]:
        """Return the executions of some batches, batch by batch, newest batch first.

        A page counts batches, not executions, so that only the folders of its batches are read.

        :param batch_id: only this batch.
        :param limit: the most batches.
        :param offset: how many of the newest batches to leave out.
        """
        results = self._results()
        batches = [batch_id] if batch_id is not None else results.batches(workflow)
        found = [
            ExecutionView.of(each)
            for batch in batches[offset : offset + limit]
            for each in results.find(workflow, batch, job)
        ]
        return Page(found, len(batches), limit, offset)

    def get(self, workflow: str, batch_id: str, job: str, attempt: str | None = None) -> ExecutionView:
        """Return one execution.

        :param attempt: None for the last one.
        :raises ResultError: there is no such execution.
        """
        return ExecutionView.of(self._stored(workflow, batch_id, job, attempt))

    def file(self, workflow: str, batch_id: str, job: str, attempt: str | None, name: str) -> ResultFile:
        """Return a file of an execution.

        :param name: ``stdout``, ``stderr``, ``output`` or ``files/…``. If the script wrote no output file, its stdout
            is the output.
        :raises ResultError: there is no such execution or file.
        """
        stored = self._stored(workflow, batch_id, job, attempt)
        if name == "output":
            name = str(stored.record["output"])
        contents = stored.record["contents"]
        if name not in contents:
            raise ResultError(f"The execution {stored.url} has no file {name!r}. It has: {', '.join(contents)}.")
        results = self._results()
        root = results.root if results.is_local else None
        return ResultFile(stored, name, int(contents[name]["bytes"]), str(contents[name]["sha256"]), root)

    def bundle(self, workflow: str, job: str, into: Path) -> Path:
        """Copy the bundle that a workflow file names for a job, as a zip.

        :param into: a private folder.
        :returns: the zip in that folder. A bundle that is a folder is packed; equal folders give equal bytes.
        :raises ConfigError: the job has no bundle, or a template names it.
        :raises OutsideFolderError: this is a server, and must not give out this bundle.
        :raises BundleRefusedError: it is not a bundle.
        :raises UnknownJobError: the file has no such job.
        """
        from batchy_provider.config.reader import read_workflow

        found = read_workflow(self._cfg, workflow)
        jobs = found.model.jobs if found.model is not None else {}
        if job not in jobs:
            raise UnknownJobError(f"{workflow}: its file has no job {job!r}{did_you_mean(job, jobs)}")
        bundle = jobs[job].bundle
        if bundle is None:
            raise ConfigError(f"{workflow}: the job {job!r} runs no bundle")
        place = locate_bundle(found.path.parent, bundle)
        if "{{" in place:
            raise ConfigError(f"{workflow}: the bundle of {job!r} is known only when it runs: {bundle}")
        target = into / f"{job}.zip"
        if self._is_server and as_local_path(place) is not None:
            return self._served(found.path.parent, bundle, into, target)
        source = Source(self._open_path(place))
        if self._is_server and is_on_disk(source.path):
            raise OutsideFolderError(bundle, _OUTSIDE)
        if source.is_folder:
            source.copy_folder(into / "folder", limits=UnpackLimits())
            _pack(into / "folder", target)
        else:
            source.fetch(target, limits=UnpackLimits())
            if self._is_server:
                _check_zip(target, bundle)
        return target

    def _served(self, folder: Path, bundle: str, into: Path, target: Path) -> Path:
        """Copy a bundle from this server's disk, only from below the folder of workflow files."""
        top = self._cfg
        name = path_below(top, locate_bundle(folder, bundle))
        if name is None or any(part.startswith(".") for part in name.parts):
            raise OutsideFolderError(bundle, _OUTSIDE)
        copy = into / "copy"
        if copy_bundle_below(top, name, copy, bundle=bundle, limits=UnpackLimits()):
            _pack(copy, target)
        else:
            _check_zip(copy, bundle)
            copy.rename(target)
        return target

    def _stored(self, workflow: str, batch_id: str, job: str, attempt: str | None) -> StoredExecution:
        results = self._results()
        if attempt is None:
            return results.latest(workflow, job, batch_id)
        return results.get(ExecutionId(workflow=workflow, batch_id=batch_id, job=job, attempt=attempt))


def _check_zip(file: Path, bundle: str) -> None:
    """Check the magic number, the index and the names of a zip.

    :raises BundleRefusedError: it is not a bundle.
    """
    with file.open("rb") as opened:
        entries = read_index(opened, bundle=bundle, limits=UnpackLimits())
    check_entries(entries, bundle=bundle, limits=UnpackLimits())


def _pack(folder: Path, target: Path) -> None:
    """Write a zip without dates, so that equal folders give equal bytes."""
    with zipfile.ZipFile(target, "x", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                entry = zipfile.ZipInfo(path.relative_to(folder).as_posix(), _ZIP_EPOCH)
                entry.compress_type = zipfile.ZIP_DEFLATED
                entry.external_attr = (0o755 if path.stat().st_mode & 0o100 else 0o644) << 16
                with path.open("rb") as source, archive.open(entry, "w") as out:
                    copy_stream(source, out)
