# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The scripts of deploy/, as somebody runs them who wants to see a site of many workers: in their short form."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from batchy_provider.local.stack import remove_database

ROOT = Path(__file__).parents[2]

if os.environ.get("CI") != "true":
    pytest.importorskip("airflow.providers.amazon", reason="apache-airflow-providers-amazon[s3fs] is not installed")


@pytest.mark.skipif(Path(sys.prefix) != ROOT / ".venv", reason="the script takes the environment .venv")
def test_celery_runs_the_workflows_on_workers_and_leaves_with_the_result(tmp_path: Path) -> None:
    (tmp_path / "cfg").mkdir()
    (tmp_path / "cfg" / "tiny.yaml").write_text(
        "{schedule: null, jobs: {extract: {bash: echo x}, load: {input: previous, bash: cat, queue: w1}}}"
    )
    folder = tmp_path / "site"
    command = [str(ROOT / "deploy" / "celery.sh"), "--exit", "--folder", str(folder), "-o", "json"]
    env = {**os.environ, "BATCHY_CFG": str(tmp_path / "cfg"), "WORKERS": "1"}
    try:
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=900, check=False)
        assert done.returncode == 0, done.stderr
        (batch,) = json.loads(done.stdout)
        assert (batch["workflow"], batch["status"]) == ("tiny", "success")
        assert "Everything is stopped." in done.stderr
        assert done.stderr.index("Web UI:    http://127.0.0.1:") < done.stderr.index("Airflow is up")
        assert not (folder / "running.json").exists()
        assert {path.name for path in (folder / "machines").iterdir()} == {
            *("api-server", "scheduler", "triggerer", "dag-processor", "w1"),
        }
        variables = (folder / "machines" / "w1" / "env.sh").read_text()
        assert f"AIRFLOW_HOME={folder}/machines/w1/home" in variables
    finally:
        remove_database(folder)
