# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""
Write one execution to an object store: file by file, the record last.

A file that the store refuses does not cost the others.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from batchy_provider.bundles.leftovers import SkippedFile

RECORD = "exit.json"
ESSENTIAL = ("stderr", "stdout")
"""Without these there is no execution."""
_CHUNK = 1024 * 1024
_REFUSED_IN_A_ROW = 3


def upload_contents(folder: Path, target: Any, contents: dict[str, dict[str, Any]], lost: list[SkippedFile]) -> None:
    """
    Upload the files of an execution.

    :param contents: their names; one that the store refuses is taken out, and added to `lost`
    :raises Exception: stdout or stderr is refused; nothing is left then
    """
    with contextlib.suppress(Exception):  # an object store has no folders to make
        target.mkdir(parents=True, exist_ok=True)
    names = sorted(contents, key=lambda name: (name not in ESSENTIAL, name != "output", name))
    refused = 0
    try:
        for name in names:
            try:
                if refused >= _REFUSED_IN_A_ROW:
                    raise OSError(f"the store has refused {refused} files in a row")
                _put(folder, target, name)
            except Exception as error:
                if name in ESSENTIAL:
                    raise
                refused += 1
                remove(target, [name])
                del contents[name]
                text = f"{type(error).__name__}: {error}".partition("\n")[0]
                lost.append(SkippedFile(name, f"was refused by the store ({text})"))
            else:
                refused = 0
    except BaseException:
        remove(target, names)
        raise


def upload_record(folder: Path, target: Any, contents: Iterable[str]) -> bool:
    """
    Upload the record: from then on the execution is there.

    :raises Exception: the store refuses it; nothing is left then
    """
    try:
        _put(folder, target, RECORD)
    except BaseException:
        remove(target, [RECORD, *contents])
        raise
    return True


def remove(target: Any, names: Iterable[str]) -> None:
    """Remove files as far as the store lets us."""
    for name in names:
        with contextlib.suppress(Exception):
            _place(target, name).unlink()


def _put(folder: Path, target: Any, name: str) -> None:
    with (folder / name).open("rb") as source, _place(target, name).open("wb") as out:
        shutil.copyfileobj(source, out, _CHUNK)


def _place(target: Any, name: str) -> Any:
    for part in name.split("/"):
        target = target / part
    return target
