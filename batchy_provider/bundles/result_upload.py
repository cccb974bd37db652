# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Upload one execution to an object store: file by file, the record last.

If the store refuses one file, the others are stored all the same.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from batchy_provider.bundles.execution_record import RECORD
from batchy_provider.bundles.skipped_files import SkippedFile
from batchy_provider.bundles.storage import copy_stream, join

ESSENTIAL = ("stderr", "stdout")
"""If the store refuses one of these, nothing is stored."""
_REFUSED_IN_A_ROW = 3


def upload_contents(folder: Path, target: Any, contents: dict[str, dict[str, Any]], skipped: list[SkippedFile]) -> None:
    """Upload the files of an execution.

    :param contents: file name → size and digest. A file that the store refuses is removed from it.
    :param skipped: a file that the store refuses is added to it.
    :raises Exception: the store refuses stdout or stderr; nothing is left in the store then.
    """
    with contextlib.suppress(Exception):  # an object store has no folders
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
                skipped.append(SkippedFile(name, f"was refused by the store ({text})"))
            else:
                refused = 0
    except BaseException:
        remove(target, names)
        raise


def upload_record(folder: Path, target: Any, contents: Iterable[str]) -> None:
    """Upload the record. When this returns, the execution exists.

    :param contents: names of the files that were uploaded before.
    :raises Exception: the store refuses it; nothing is left in the store then.
    """
    try:
        _put(folder, target, RECORD)
    except BaseException:
        remove(target, [RECORD, *contents])
        raise


def remove(target: Any, names: Iterable[str]) -> None:
    """Remove files, as far as the store allows it."""
    for name in names:
        with contextlib.suppress(Exception):
            join(target, name).unlink()


def _put(folder: Path, target: Any, name: str) -> None:
    with (folder / name).open("rb") as source, join(target, name).open("wb") as out:
        copy_stream(source, out)
