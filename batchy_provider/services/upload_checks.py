# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Check an upload: conflicts with existing files, bundles outside of the folder, errors, files that nobody reads."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from batchy_provider.config.bundle_paths import locate_bundle
from batchy_provider.config.diagnostics import Diagnostic
from batchy_provider.config.inspection import inspect_folder
from batchy_provider.config.reader import InvalidFilesError, Reader, find_file, find_files
from batchy_provider.exceptions import ConfigError
from batchy_provider.services.upload_effects import is_outside, named_bundles
from batchy_provider.services.upload_files import UploadConflictError, digest_of, is_bundle
from batchy_provider.services.upload_requests import Check, Upload

if TYPE_CHECKING:
    from batchy_provider.config.workflow import Workflow

ErrorKey = tuple[str, str, str]
"""File, key and code of an error. Not its message, since the name that it suggests may change with each file."""


def check_conflicts(cfg: Path, upload: Upload, new: Iterable[str], replaced: Collection[str]) -> None:
    """Check that the upload replaces only what its caller wants to replace.

    :param cfg: the folder of workflow files.
    :param new: the files of the upload, relative to `cfg`.
    :param replaced: those of them that exist.
    :raises UploadConflictError: a file must not be replaced, or is not what the caller expects.
    """
    for name, digest in upload.expected.items():
        if name not in replaced or digest_of(cfg / name) != digest:
            raise UploadConflictError(f"{name} is not what it was when you looked; look again, then replace it")
    edited = [name for name in new if upload.after is not None and not is_bundle(name)]
    if not upload.replace and (there := [name for name in replaced if name not in edited]):
        raise UploadConflictError(f"there already: {', '.join(there)}; rename, or say that it is to be replaced")


def check_bundle_places(cfg: Path, file: Path, name: str) -> None:
    """Refuse bundles on this server's disk outside of the folder of workflow files, without reading them.

    Bundles that the workflow's current file names were chosen by its author, and stay.

    :param file: the uploaded workflow file.
    :param name: where it is to be stored, relative to `cfg`.
    :raises ConfigError: it names such a bundle.
    """
    place = cfg / name
    is_json = name.endswith(".json")
    known = named_bundles(place.read_bytes(), is_json=is_json) if place.is_file() else set()
    for bundle in sorted(named_bundles(file.read_bytes(), is_json=is_json) - known):
        if is_outside(cfg, place.parent, bundle):
            raise ConfigError(
                f"{name}: the bundle {bundle!r} lies outside of the folder of workflow files; an uploaded file "
                "names bundles in that folder, without links that lead out, or on an object store"
            )


def known_errors(layout: Path) -> set[ErrorKey]:
    """Return the errors in a folder of workflow files before the upload."""
    found = inspect_folder(layout, look_into_bundles=False)
    return {_key(diagnostic) for diagnostic in _relative(found, layout)}


def check_files(
    layout: Path, new: Iterable[str], workflows: Sequence[str], known: Collection[ErrorKey], check: Check | None
) -> None:
    """Check the folder as it would be after the upload.

    :param layout: that folder.
    :param new: the files of the upload, relative to it.
    :param workflows: the workflows of the upload.
    :param known: errors that other files already have; the upload does not cause them.
    :param check: a further check of the workflows that use classes of operators.
    :raises InvalidFilesError: there are other errors.
    """
    names = set(new)
    found = _relative(inspect_folder(layout, look_into_bundles=True, bundles_of=workflows), layout)
    wrong = [diagnostic for diagnostic in found if diagnostic.file in names or _key(diagnostic) not in known]
    if not wrong and check is not None and (with_classes := _with_classes(layout, workflows)):
        wrong = _relative(check(layout, with_classes), layout)
    if wrong:
        texts = {name: (layout / name).read_text("utf-8", "replace") for name in names if not is_bundle(name)}
        raise InvalidFilesError(wrong, texts)


def check_all_are_read(layout: Path, new: Iterable[str], configs: Sequence[str]) -> None:
    """Check that each file of the upload is read, since a file that nobody reads was not checked.

    :param configs: the workflow files of the upload, relative to `layout`.
    :raises ConfigError: a workflow file is not read as one, or no job runs a bundle.
    """
    files = {path.relative_to(layout).as_posix() for path in find_files(layout)}
    if strange := [name for name in configs if name not in files]:
        raise ConfigError(f"{strange[0]} is not read as a workflow file; choose another name")
    reader = Reader(layout)
    used = {place for name in configs for place in _bundle_places(reader.read(layout / name)[0])}
    for name in new:
        if is_bundle(name) and str(layout / name) not in used:
            raise ConfigError(
                f"no job of this upload runs the bundle {PurePath(name).name}: give a workflow file that names it, "
                "or the job it follows"
            )


def _with_classes(folder: Path, workflows: Iterable[str]) -> list[str]:
    """Return those of some workflows that use classes of operators."""
    reader = Reader(folder)
    paths = {name: path for name in workflows if (path := find_file(folder, name)) is not None}
    read = {name: reader.read(path)[0] for name, path in paths.items()}
    return [name for name, workflow in read.items() if workflow is not None and workflow.uses_classes]


def _bundle_places(workflow: Workflow | None) -> Iterator[str]:
    if workflow is not None and workflow.model is not None:
        for job in workflow.model.jobs.values():
            if job.bundle:
                yield os.path.normpath(locate_bundle(workflow.path.parent, job.bundle))


def _key(diagnostic: Diagnostic) -> ErrorKey:
    return diagnostic.file, diagnostic.key, diagnostic.code


def _relative(diagnostics: Iterable[Diagnostic], folder: Path) -> list[Diagnostic]:
    """Name files relative to the folder: callers must not see where this machine has it."""
    prefix = f"{folder}{os.sep}"
    return [
        replace(
            diagnostic,
            file=diagnostic.file.removeprefix(prefix),
            message=diagnostic.message.replace(prefix, "").replace(str(folder), "cfg"),
        )
        for diagnostic in diagnostics
    ]
