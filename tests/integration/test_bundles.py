# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Bundles on a whole Airflow: what a script prints is seen while it runs, and what it leaves reaches the next job."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import zipfile
from pathlib import Path

from nights import Nights

from batchy_provider.local.rest import wait_for

CHAIN = """
    schedule: null
    jobs:
      extract:
        bundle: {folder}/extract.zip
        env: {{PASSWORD: "{{{{ var.value.warehouse_password }}}}"}}
      load:
        bash: |
          cat
          cp "$BATCHY_PARAMS" "$BATCHY_OUTPUT_DIR/given.json"
        input: previous
      optional:
        bash: echo "nothing to do"; exit 99
      broken:
        bash: |
          seq 1000 >&2
          exit 7
"""

# The script stamps a line, then goes on running until the test has seen it.
LIVE = """
echo "stamp $(date +%s.%N) {mark}"
echo "the password is $PASSWORD"
echo '::batchy {{"progress": 0.5, "message": "half"}}'
while test ! -e {folder}/seen-{mark}; do sleep 0.05; done
echo "data of {mark}" > "$BATCHY_OUTPUT"
"""


def write_zip(folder: Path, mark: str) -> None:
    with zipfile.ZipFile(folder / "new.zip", "w") as archive:
        archive.writestr("script.sh", LIVE.format(mark=mark, folder=folder))
    (folder / "new.zip").replace(folder / "extract.zip")


def batchy(airflow: Nights, *arguments: str) -> str:
    command = [sys.executable, "-m", "batchy_provider.cli.main", *arguments]
    return subprocess.run(
        command, env=airflow.stack.environment, capture_output=True, check=True, text=True, timeout=60
    ).stdout


def stamp_seen(airflow: Nights, workflow: str, run_id: str, mark: str) -> float:
    """Wait for the script's line in the task log, by the REST API; returns the seconds from print to sight."""

    def stamped() -> float | None:
        if airflow.tasks(workflow, run_id).get("extract") != "running":
            return None
        found = re.search(rf"stamp ([0-9.]+) {mark}", airflow.log(workflow, run_id, "extract"))
        return float(found[1]) if found else None

    printed = float(wait_for(stamped, "the line of a running script", timeout=240, interval=0.05))
    return time.time() - printed


def test_lines_are_live_output_goes_on_skips_and_failures_say_why_and_a_changed_zip_is_noticed(
    airflow: Nights, tmp_path: Path
) -> None:
    airflow.client.request("POST", "/variables", json={"key": "warehouse_password", "value": "open-sesame-42"})
    write_zip(tmp_path, "one")
    airflow.add("bundled", CHAIN.format(folder=tmp_path))

    run_id = airflow.start("bundled")
    delay = stamp_seen(airflow, "bundled", run_id, "one")
    assert airflow.tasks("bundled", run_id)["extract"] == "running", "the line was seen before the script's end"
    print(f"from print to the REST API's task log: {delay:.2f} s")
    assert delay < 2
    wait_for(lambda: "50% half" in batchy(airflow, "status", "bundled"), "progress in batchy status", timeout=240)
    write_zip(tmp_path, "two")
    (tmp_path / "seen-one").touch()
    assert airflow.client.wait_for_run("bundled", run_id) == "failed"
    assert airflow.tasks("bundled", run_id) == {
        **dict.fromkeys(("open", "extract", "load"), "success"),
        "optional": "skipped",
        "broken": "failed",
        "close": "failed",
    }
    batch_id = str(airflow.batch("bundled", run_id).batch_id)
    assert batchy(airflow, "logs", "bundled", "load", "--batch", batch_id) == "data of one\n"

    # The zip was changed at its place, while a run was under way: the next run takes the new one.
    next_run = airflow.start("bundled")
    stamp_seen(airflow, "bundled", next_run, "two")
    (tmp_path / "seen-two").touch()

    # What was handed over, and the params of the next job.
    given = airflow.client.xcom("bundled", run_id, "load", "given")
    given = given if isinstance(given, dict) else json.loads(given)
    assert given["input"] == {"job": "extract", "state": "success", "bytes": 12}
    assert given["previous"]["extract"]["exit_code"] == 0

    # A secret that Airflow knows is masked in the log, and in the result file.
    log = airflow.log("bundled", run_id, "extract")
    assert "the password is ***" in log
    assert "open-sesame" not in log
    assert "the password is ***" in batchy(airflow, "logs", "bundled", "extract", "--batch", batch_id)

    # The error of the failing script.
    log = airflow.log("bundled", run_id, "broken")
    for part in ("exit code 7", "\n999\n1000", "The whole output is in file://"):
        assert part in log
    (command,) = set(re.findall(r"to read it: (batchy logs .*)", log))
    words = command.split()[1:]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "BATCHY"))}
    done = subprocess.run(
        [sys.executable, "-m", "batchy_provider.cli.main", *words, "--stderr"],
        env=environment,
        capture_output=True,
        check=True,
        text=True,
    )
    assert done.stdout == "".join(f"{i}\n" for i in range(1, 1001))
    airflow.client.wait_for_task("bundled", next_run, "extract", ["success"])
    airflow.client.set_run_state("bundled", next_run, "failed")
