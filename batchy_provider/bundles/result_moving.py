# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Move the results of a workflow to another name.

A result store has no transaction. Each execution is complete under one of the names at any time, and a move that was
interrupted is repeated as a whole.
"""

from __future__ import annotations

import contextlib
import json
from typing import Any

from batchy_provider.bundles.errors import ResultError, wrap_store_errors
from batchy_provider.bundles.execution_id import folder_name
from batchy_provider.bundles.execution_record import RECORD, StoredExecution
from batchy_provider.bundles.result_store import ResultStore
from batchy_provider.bundles.storage import copy_stream, drop_listing_cache, join, walk_files, write_whole


def move_results(store: ResultStore, old: str, new: str) -> int:
    """Move all executions of a workflow to another name.

    An execution whose record cannot be read stays where it is.

    :returns: how many executions were moved.
    :raises ResultError: the store cannot be read or written, or the new name has an execution of the same batch.
    """
    moved = 0
    with wrap_store_errors(ResultError, f"The results of {old} cannot be moved to {new}", "Check the store"):
        for execution in store.find(old):
            if execution.damage is None:
                _move(store, execution, new)
                moved += 1
        if store.is_local:
            _remove_empty_folders(store.root / folder_name(old))
    return moved


def _move(store: ResultStore, execution: StoredExecution, new: str) -> None:
    parts = execution.url.rsplit("/", 3)[1:]
    target = join(store.root, "/".join((folder_name(new), *parts)))
    record = json.dumps({**execution.record, "workflow": new}, ensure_ascii=False).encode()
    if store.is_local:
        if target.exists():
            raise ResultError(f"{store.url} has an execution {'/'.join(parts)} of {new} already")
        # One rename moves the execution with its record, which says already whose it is.
        write_whole(execution.path / RECORD, record)
        target.parent.mkdir(parents=True, exist_ok=True)
        execution.path.rename(target)
        return
    for name in execution.record["contents"]:
        _copy(join(execution.path, name), join(target, name))
    write_whole(target / RECORD, record)
    store.discard(execution.path)
    job = execution.path.parent
    for folder in (job, job.parent, job.parent.parent):
        with contextlib.suppress(Exception):  # only a store that has folders keeps empty ones
            if not any(walk_files(folder)):
                folder.rmdir()


def _copy(source: Any, target: Any) -> None:
    with contextlib.suppress(Exception):  # only a store that has folders needs them
        target.parent.mkdir(parents=True, exist_ok=True)
    with drop_listing_cache(source).open("rb") as opened, target.open("wb") as written:
        copy_stream(opened, written)


def _remove_empty_folders(root: Any) -> None:
    for folder in [*root.glob("*/*"), *root.glob("*"), root]:
        with contextlib.suppress(OSError):  # it holds something, or does not exist
            folder.rmdir()
