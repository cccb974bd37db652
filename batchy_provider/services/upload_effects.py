# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Find out what an upload changes: the workflows that it names, and all that run a bundle which it stores."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from batchy_provider.bundles.confined_files import as_local_path, path_below
from batchy_provider.config.bundle_paths import FOLDER
from batchy_provider.config.document import MAX_BYTES, DocumentError, decode, parse

if TYPE_CHECKING:
    from batchy_provider.config.reader import Folder

_TEMPLATE = re.compile(r"\{\{.*?\}\}|\{%.*?%\}", re.DOTALL)


def who_runs(folder: Folder, top: Path, bundles: Collection[str]) -> dict[str, list[str]]:
    """Return the workflows that run one of some bundles, or may: workflow → those bundles.

    If a template names the bundle, the job counts if the template can render to that name. A file with errors is
    searched for the name, since its DAG stays as it was read last.

    :param top: the folder of workflow files.
    :param bundles: paths relative to `top`, with ``/``.
    """
    found: dict[str, list[str]] = {}
    if not bundles:
        return found
    for name, workflow in folder.workflows.items():
        for job in workflow.model.jobs.values() if workflow.model is not None else ():
            if job.bundle:
                found.setdefault(name, []).extend(_run_by(top, workflow.path.parent, job.bundle, bundles))
    for path in {Path(diagnostic.file) for diagnostic in folder.diagnostics}:
        if path.stem in folder.workflows or path.stem.startswith("_"):
            continue
        text = _start_of(path)
        found.setdefault(path.stem, []).extend(each for each in bundles if PurePath(each).name.encode() in text)
    return {name: sorted({*each}) for name, each in sorted(found.items()) if each}


def _run_by(top: Path, folder: Path, bundle: str, bundles: Collection[str]) -> Iterator[str]:
    if _TEMPLATE.search(bundle):
        # A template may render to several folders, so compare only the last part.
        pattern = ".*".join(re.escape(part) for part in _TEMPLATE.split(bundle.rpartition("/")[2]))
        yield from (each for each in bundles if re.fullmatch(pattern, PurePath(each).name, re.DOTALL))
        return
    if (place := as_local_path(bundle)) is None:
        return
    for candidate in (folder / place, folder / FOLDER / place):
        if (name := path_below(top, candidate)) is not None:
            text = name.as_posix()
            yield from (each for each in bundles if each == text or each.startswith(f"{text}/"))


def named_bundles(raw: bytes, *, is_json: bool) -> set[str]:
    """Return the bundles that a workflow file names, even if it has errors; none if it cannot be parsed."""
    try:
        data = parse(decode(raw), is_json=is_json).data
    except DocumentError:
        return set()
    jobs = data.get("jobs") if isinstance(data, Mapping) else None
    values: list[Any] = [*jobs.values()] if isinstance(jobs, Mapping) else []
    return {job["bundle"] for job in values if isinstance(job, Mapping) and isinstance(job.get("bundle"), str)}


def is_outside(top: Path, folder: Path, bundle: str) -> bool:
    """Tell whether a bundle is a path of this machine outside of the folder of workflow files."""
    if "{{" in bundle or (place := as_local_path(bundle)) is None:
        return False
    return any(path_below(top, candidate) is None for candidate in (folder / place, folder / FOLDER / place))


def _start_of(path: Path) -> bytes:
    try:
        if not path.is_file():
            return b""
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except (OSError, ValueError):
        return b""
