# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""REST on a whole Airflow: a night from its upload to its log, and an API server that is killed in the middle."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from nights import Nights

from batchy_provider.bundles.execution_id import ExecutionId
from batchy_provider.bundles.result_store import ResultStore
from batchy_provider.local.rest import wait_for

SCRIPT = "echo from $BATCHY_FROM_DATE; while test ! -e {folder}/go; do sleep 0.2; done; echo done\n"
API = "/batchy/api/v1"


def client_of(airflow: Nights) -> httpx.Client:
    """A client with a token, as any program would get it."""
    client = httpx.Client(base_url=airflow.stack.url, timeout=60, trust_env=False)
    login = {"username": "admin", "password": airflow.stack.password}
    token = client.post("/auth/token", json=login).json()["access_token"]
    client.headers["Authorization"] = f"Bearer {token}"
    return client


def bundle(script: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("script.sh", script)
    return out.getvalue()


def test_a_night_from_upload_to_log(airflow: Nights, tmp_path: Path) -> None:
    client = client_of(airflow)
    files = {
        "config": ("uploaded.yaml", b"schedule: null\njobs: {load: {bundle: uploaded.zip}}\n"),
        "bundle": ("uploaded.zip", bundle(SCRIPT.format(folder=tmp_path))),
    }
    stored = client.post(f"{API}/uploads", files=files)
    assert stored.status_code == 201, stored.text
    airflow.ready("uploaded")

    heard: list[str] = []

    def listen() -> None:
        with client_of(airflow).stream("GET", f"{API}/events") as events:
            for line in events.iter_lines():
                if line.startswith("data: ") and (event := json.loads(line[6:])).get("workflow") == "uploaded":
                    heard.append(event["event"])
                    if event["event"] in ("success", "failed"):
                        return

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    token = tmp_path / "token"
    token.write_text(client.headers["Authorization"].removeprefix("Bearer "))
    batchy = [sys.executable, "-m", "batchy_provider.cli.main"]
    waiting = subprocess.Popen(
        [*batchy, "wait", "uploaded", "--api", airflow.stack.url, "--token-file", str(token), "--timeout", "2m"],
        stdout=subprocess.PIPE,
        text=True,
        env={name: value for name, value in os.environ.items() if not name.startswith("BATCHY_")},
    )

    run_id = airflow.start("uploaded")
    summary = wait_for(
        lambda: (found := client.get(f"{API}/workflows/uploaded").json()["summary"])["status"] == "open" and found,
        "the open batch",
        timeout=60,
    )
    log = f"{API}/workflows/uploaded/batches/{summary['batch_id']}/jobs/load/attempts/1/log"

    def told() -> bool:
        answer = client.get(log, follow_redirects=True, headers={"Accept": "application/x-ndjson"})
        return "from 1776-07-04" in answer.text

    wait_for(told, "a line of the running script in its log", timeout=60)
    (tmp_path / "go").touch()
    assert airflow.client.wait_for_run("uploaded", run_id, timeout=60) == "success"
    assert waiting.wait(30) == 0
    listener.join(30)
    assert heard == ["open", "success"]
    (execution,) = client.get(f"{API}/workflows/uploaded/executions").json()["items"]
    out = f"{API}/workflows/uploaded/batches/{execution['batch_id']}/jobs/load/attempts/1/stdout"
    assert client.get(out).text.endswith("done\n")
    assert client.get(f"{API}/workflows/uploaded/jobs/load/bundle").content == files["bundle"][1]


@pytest.fixture
def big(airflow: Nights, tmp_path: Path) -> tuple[str, int, str]:
    """An execution with 300 MB of output: its address, size and digest."""
    results = ResultStore(str(airflow.stack.folder / "results"))
    block, digest = os.urandom(1024 * 1024), hashlib.sha256()
    identity = ExecutionId(workflow="big", batch_id="1", job="load", attempt="1")
    with results.draft(identity, tmp_path) as draft:
        with (draft.folder / "stdout").open("wb") as out:
            for _ in range(300):
                out.write(block)
                digest.update(block)
        (draft.folder / "stderr").write_bytes(b"")
        draft.commit({"state": "success", "exit_code": 0, "started": "a", "finished": "b", "bundle": None})
    return f"{API}/workflows/big/batches/1/jobs/load/attempts/1/stdout", 300 * len(block), digest.hexdigest()


def test_a_server_that_is_killed_in_mid_download_and_mid_upload_loses_nothing(
    airflow: Nights, big: tuple[str, int, str]
) -> None:
    path, size, sha256 = big
    client = client_of(airflow)
    server = airflow.stack.service("api-server")
    digest, got, killed = hashlib.sha256(), 0, False
    with pytest.raises(httpx.TransportError), client.stream("GET", path) as answer:  # noqa: PT012
        etag = answer.headers["etag"]
        for data in answer.iter_raw(1024 * 1024):
            digest.update(data)
            got += len(data)
            if not killed:
                killed = True
                server.kill()
    assert 0 < got < size
    airflow.stack.restart("api-server")
    client = client_of(airflow)
    ranged = {"Range": f"bytes={got}-", "If-Range": etag}
    with client.stream("GET", path, headers=ranged) as answer:
        assert answer.status_code == 206
        for data in answer.iter_raw(1024 * 1024):
            digest.update(data)
    assert digest.hexdigest() == sha256

    before = sorted(path.name for path in airflow.cfg.iterdir() if not path.name.startswith("."))

    def body() -> Iterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="config"; filename="half.yaml"\r\n\r\njobs: {a: {bash: '
        airflow.stack.service("api-server").kill()
        for _ in range(1000):
            yield b" " * 65536

    headers = {"Content-Type": "multipart/form-data; boundary=x", "Content-Length": str(100_000_000)}
    with pytest.raises(httpx.TransportError):
        client.post(f"{API}/uploads", content=body(), headers=headers)
    airflow.stack.restart("api-server")
    assert sorted(path.name for path in airflow.cfg.iterdir() if not path.name.startswith(".")) == before
    again = {"config": ("half.yaml", b"schedule: null\njobs: {a: {bash: 'true'}}\n")}
    assert client_of(airflow).post(f"{API}/uploads", files=again).status_code == 201
