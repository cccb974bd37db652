# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""REST on a whole Airflow: a night from its upload to its log."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

from nights import Nights

from batchy_provider.local.rest import wait_for

SCRIPT = "echo from $BATCHY_FROM_DATE; while test ! -e {folder}/go; do sleep 0.2; done; echo done\n"
API = "/batchy/api/v1"


def bundle(script: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("script.sh", script)
    return out.getvalue()


def test_a_night_from_upload_to_log(airflow: Nights, tmp_path: Path) -> None:
    client = airflow.rest()
    files = {
        "config": ("uploaded.yaml", b"schedule: null\njobs: {load: {bundle: uploaded.zip}}\n"),
        "bundle": ("uploaded.zip", bundle(SCRIPT.format(folder=tmp_path))),
    }
    stored = client.post(f"{API}/uploads", files=files)
    assert stored.status_code == 201, stored.text
    airflow.ready("uploaded")

    heard: list[str] = []

    def listen() -> None:
        with airflow.rest().stream("GET", f"{API}/events") as events:
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
        timeout=240,
    )
    log = f"{API}/workflows/uploaded/batches/{summary['batch_id']}/jobs/load/attempts/1/log"

    def line_is_there() -> bool:
        answer = client.get(log, follow_redirects=True, headers={"Accept": "application/x-ndjson"})
        return "from 1776-07-04" in answer.text

    wait_for(line_is_there, "a line of the running script in its log", timeout=240)
    (tmp_path / "go").touch()
    assert airflow.client.wait_for_run("uploaded", run_id, timeout=240) == "success"
    assert waiting.wait(30) == 0
    listener.join(30)
    assert heard == ["open", "success"]
    (execution,) = client.get(f"{API}/workflows/uploaded/executions").json()["items"]
    out = f"{API}/workflows/uploaded/batches/{execution['batch_id']}/jobs/load/attempts/1/stdout"
    assert client.get(out).text.endswith("done\n")
    assert client.get(f"{API}/workflows/uploaded/jobs/load/bundle").content == files["bundle"][1]
