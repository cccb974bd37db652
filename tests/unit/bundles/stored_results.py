# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Put executions into a result store, as jobs do."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from upath import UPath

from batchy_provider.bundles.execution_id import ExecutionId
from batchy_provider.bundles.execution_record import StoredExecution
from batchy_provider.bundles.result_store import ResultStore

IDENTITY = ExecutionId(workflow="sales", batch_id="1795000000", job="extract", attempt="1")


def open_path(url: str) -> Any:
    return Path(url.removeprefix("file://")) if "memory:" not in url else UPath(url)


def keep(
    store: ResultStore, tmp_path: Path, identity: ExecutionId = IDENTITY, finished: str | None = None, **files: bytes
) -> StoredExecution:
    scratch = tmp_path / f"scratch-{os.urandom(4).hex()}"
    scratch.mkdir()
    with store.draft(identity, scratch) as draft:
        for name, content in {"stdout": b"out\n", "stderr": b"err\n", **files}.items():
            path = draft.folder / name.replace("__", "/")
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
        return draft.commit({"state": "success", "finished": finished or identity.batch_id + identity.job})
