# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Check that Airflow can store a DAG, by serializing it as Airflow does.

A DAG that Airflow cannot send from the parsing process to the storing process, or cannot write to its database, ends
one of these processes. Then Airflow stores no DAG of any file.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from batchy_provider.config.workflow import Workflow

if TYPE_CHECKING:
    from airflow.sdk import DAG

MAX_SECONDS = 5.0
"""CPU seconds per parse for new DAGs that contain only scripts. Without this limit, an update of thousands of
workflows could take longer than Airflow allows for a parse, and all DAGs would disappear."""

MIN_CACHED = 20
"""With fewer DAGs, serializing them is cheaper than a cache file."""

_MAX_PATH = 2000
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


def storage_problem(dag: DAG) -> str | None:
    """Return why Airflow could not store a DAG, or None if it can.

    :param dag: a complete DAG; it is not changed.
    """
    import msgspec

    from batchy_provider.compat import serialize_dag

    try:
        dag.validate()
        data = serialize_dag(dag)
        text = json.dumps(data, allow_nan=False, ensure_ascii=False)  # the database
        text.encode()
        msgspec.msgpack.encode(data)  # sent to the storing process, which takes no numbers above 64 bits
    except (Exception, SystemExit) as error:
        return f"{type(error).__name__}: {error}"
    if _NUL.search(text):
        return "a text holds a NUL character, which PostgreSQL cannot store"
    if len(str(dag.fileloc)) > _MAX_PATH:
        return f"the path of the file has more than {_MAX_PATH} characters"
    return None


class StorageCheck:
    """Check the DAGs of one folder in one parse, and skip those that passed before and have not changed.

    Each parse is a separate process. So a file records the DAGs that passed; they are serialized again only when the
    workflow, this package or Airflow changes. A DAG that uses other classes is serialized in each parse, because
    nothing shows when their behavior changes.

    :param folder: the folder of the workflow files.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        from airflow import __version__ as airflow_version

        from batchy_provider import __version__ as own_version

        self._versions = f"{airflow_version} {own_version}"
        self._file = _private_file(_digest(str(Path(folder).absolute())))
        self._known = _read(self._file)
        self._good: set[str] = set()
        self._seconds = 0.0

    def problem(self, workflow: Workflow, dag: DAG) -> str | None:
        """Return why Airflow could not store the DAG of a workflow, or None."""
        key = self._key(workflow)
        if not workflow.uses_classes:
            if key in self._known:
                self._good.add(key)
                return None
            # Made of checked values and this package's operators; the next parse checks it.
            if self._seconds > MAX_SECONDS:
                return None
        start = time.process_time()
        found = storage_problem(dag)
        self._seconds += time.process_time() - start
        if found is None:
            self._good.add(key)
        return found

    def close(self) -> None:
        """Write the DAGs that passed to the cache file."""
        if self._file is None or self._good == self._known or len(self._good) < MIN_CACHED:
            return
        with suppress(OSError):
            descriptor, name = tempfile.mkstemp(dir=self._file.parent)
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write("\n".join(sorted(self._good)))
            Path(name).replace(self._file)

    def _key(self, workflow: Workflow) -> str:
        return _digest(f"{self._versions}\n{workflow.path}\n{workflow.model!r}")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="backslashreplace")).hexdigest()


def _private_file(name: str) -> Path | None:
    """Return the path of a file in a folder that only this user can write, or None if the folder cannot be made."""
    folder = Path(tempfile.gettempdir(), f"batchy-stored-{os.geteuid()}")
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError:
        return None
    is_private = found.st_uid == os.geteuid() and found.st_mode & 0o077 == 0
    return folder / name if is_private and folder.is_dir() and not folder.is_symlink() else None


def _read(file: Path | None) -> frozenset[str]:
    if file is None:
        return frozenset()
    lines: Iterable[str] = ()
    with suppress(OSError, ValueError):
        lines = file.read_text(encoding="ascii").split("\n")
    return frozenset(lines)
