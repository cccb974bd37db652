# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The API server is killed in the middle of a download and of an upload."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from nights import Nights

from batchy_provider.bundles.execution_id import ExecutionId
from batchy_provider.bundles.result_store import ResultStore

API = "/batchy/api/v1"


@pytest.fixture
def big(airflow: Nights, tmp_path: Path) -> tuple[str, int, str]:
    """An execution with 100 MB of output: its address, size and digest."""
    results = ResultStore(str(airflow.stack.folder / "results"))
    block, digest = os.urandom(1024 * 1024), hashlib.sha256()
    identity = ExecutionId(workflow="big", batch_id="1", job="load", attempt="1")
    with results.draft(identity, tmp_path) as draft:
        with (draft.folder / "stdout").open("wb") as out:
            for _ in range(100):
                out.write(block)
                digest.update(block)
        (draft.folder / "stderr").write_bytes(b"")
        draft.commit({"state": "success", "exit_code": 0, "started": "a", "finished": "b", "bundle": None})
    return f"{API}/workflows/big/batches/1/jobs/load/attempts/1/stdout", 100 * len(block), digest.hexdigest()


def test_a_server_that_is_killed_in_mid_download_and_mid_upload_loses_nothing(
    airflow: Nights, big: tuple[str, int, str]
) -> None:
    path, size, sha256 = big
    client = airflow.rest()
    before = files(airflow.cfg)
    digest, got, killed = hashlib.sha256(), 0, False

    def body() -> Iterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="config"; filename="half.yaml"\r\n\r\njobs: {a: {bash: '
        airflow.stack.service("api-server").kill()
        for _ in range(1000):
            yield b" " * 65536

    headers = {"Content-Type": "multipart/form-data; boundary=x", "Content-Length": str(100_000_000)}
    # The error comes in the middle of the answer, whose parts are counted until then.
    with pytest.raises(httpx.TransportError), client.stream("GET", path) as answer:  # noqa: PT012
        etag = answer.headers["etag"]
        for data in answer.iter_raw(1024 * 1024):
            digest.update(data)
            got += len(data)
            if not killed:
                killed = True
                with pytest.raises(httpx.TransportError):
                    client.post(f"{API}/uploads", content=body(), headers=headers)
    assert 0 < got < size
    airflow.stack.restart("api-server")
    assert files(airflow.cfg) == before

    client = airflow.rest()
    ranged = {"Range": f"bytes={got}-", "If-Range": etag}
    with client.stream("GET", path, headers=ranged) as answer:
        assert answer.status_code == 206
        for data in answer.iter_raw(1024 * 1024):
            digest.update(data)
    assert digest.hexdigest() == sha256
    again = {"config": ("half.yaml", b"schedule: null\njobs: {a: {bash: 'true'}}\n")}
    assert client.post(f"{API}/uploads", files=again).status_code == 201


def files(folder: Path) -> list[str]:
    """Names of the files of a folder; hidden ones are left out."""
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
