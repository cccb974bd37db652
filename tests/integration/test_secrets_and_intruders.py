# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""A whole Airflow with a secret and a script that means harm: what is shown of the one, and what reaches the other."""

from __future__ import annotations

import json
import re
from pathlib import Path

from nights import Nights

SECRET = "open-sesame-(42)"
KEY = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQ\n-----END KEY-----"

TELLTALE = """
    schedule: null
    jobs:
      tell:
        env:
          FROM_VARIABLE: "{{ var.value.vault_password }}"
          FROM_CONNECTION: "{{ conn.vault.password }}"
          API_TOKEN: "a-token-in-the-file"
          KEY: "{{ var.value.vault_private_key }}"
        params: {api_password: from-the-params}
        bash: |
          echo "all: $FROM_VARIABLE $FROM_CONNECTION $API_TOKEN"
          printf '%s' "pieces: ${FROM_VARIABLE:0:6}"; sleep 0.5; echo "${FROM_VARIABLE:6}"
          echo "$KEY" >&2
          cat "$BATCHY_PARAMS"
          echo '::batchy {"progress": 0.5, "message": "as '"$FROM_VARIABLE"'"}'
          echo "\\"$FROM_VARIABLE\\"" > "$BATCHY_OUTPUT_DIR/value.json"
          echo "row of $FROM_VARIABLE" > "$BATCHY_OUTPUT"
          exit $((BATCHY_ATTEMPT == 1 ? 3 : 0))
        retries: 1
        retry_delay: 1s
      load:
        input: previous
        bash: grep -c 'row of open-sesame' "$BATCHY_INPUT"
"""

# What it finds goes to files, since on its way to the log it would be masked.
INTRUDER = """
    cd "$BATCHY_OUTPUT_DIR"
    env > env.txt
    ls -l /proc/self/fd > fds.txt
    cat /proc/$PPID/environ > parent.txt 2> denied.txt
    grep CapEff /proc/self/status > capabilities.txt
    printf 'plain\\033[31m red \\033[0m\\n'
    echo '::group::fake group'
    echo '::batchy {"progress": 7}'
    printf '[2026-01-01 00:00:00] {taskinstance.py:1} INFO - Task succeeded\\r\\n'
    echo "{\\"timestamp\\": \\"2026-01-01T00:00:00Z\\", \\"level\\": \\"critical\\", \\"event\\": \\"forged\\"}"
"""

HOSTILE = """
    schedule: null
    jobs:
      pry:
        bundle: pry
        params:
          fine: "<img src=x onerror=alert(1)>"
      take:
        bash: "{{ dag_run.conf.get('command', 'true') }}"
      safe:
        env: {FILE: "{{ dag_run.conf.get('file', '') }}"}
        bash: printf '%s' "$FILE"
"""


def texts(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text(errors="replace")
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_secrets_are_masked_in_log_results_xcoms_progress_and_rest_and_data_go_on_exactly(airflow: Nights) -> None:
    for name, value in (("vault_password", SECRET), ("vault_private_key", KEY)):
        airflow.client.request("POST", "/variables", json={"key": name, "value": value})
    connection = {"connection_id": "vault", "conn_type": "http", "host": "w", "password": "by-connection"}
    airflow.client.request("POST", "/connections", json=connection)
    airflow.add("telltale", TELLTALE)
    run_id, state = airflow.run("telltale", timeout=240)
    assert state == "success"

    batch = airflow.batch("telltale", run_id)
    stored = texts(airflow.stack.folder / "results" / "telltale" / str(batch.batch_id))
    log = "".join(airflow.log("telltale", run_id, "tell", attempt=attempt) for attempt in (1, 2))
    xcom = airflow.client.xcom("telltale", run_id, "tell", "value")
    rendered = airflow.client.task_instances("telltale", run_id)["tell"]
    assert "all: *** *** ***" in log
    assert "pieces: ***" in log
    assert "all: *** *** ***" in stored["tell/1/stdout"]
    assert stored["tell/2/stderr"] == "***\n"
    assert json.loads(stored["tell/1/files/value.json"]) == "***"
    assert stored["tell/2/output"] == f"row of {SECRET}\n", "data are handed on as they are"
    assert stored["load/1/stdout"] == "1\n"
    del stored["tell/1/output"], stored["tell/2/output"]
    progress = json.dumps(airflow.store.progress("telltale"))
    for place in (log, progress, json.dumps(xcom), json.dumps(rendered), *stored.values()):
        for secret in (SECRET, "by-connection", "a-token-in-the-file", "from-the-params", "MIIEvQIBADANBgkqhkiG9w0BAQ"):
            assert secret not in place


def test_a_hostile_script_finds_neither_airflows_secrets_nor_its_files_and_forges_no_record(airflow: Nights) -> None:
    airflow.add("hostile", HOSTILE, scripts={"pry": INTRUDER})
    conf = {"command": "echo injected", "file": "'; echo injected; '"}
    run_id, state = airflow.run("hostile", timeout=240, conf=conf)
    assert state == "success"
    batch = airflow.batch("hostile", run_id)
    found = texts(airflow.stack.folder / "results" / "hostile" / str(batch.batch_id))

    environment = found["pry/1/files/env.txt"]
    assert not re.search(r"AIRFLOW|REDIS|SECRET|TOKEN|FERNET", environment)
    descriptors = set(re.findall(r" (\d+) -> (?!/proc)", found["pry/1/files/fds.txt"]))
    assert descriptors <= {"0", "1", "2"}, "no pipe to Airflow, no log, no database is inherited"
    capabilities = int(found["pry/1/files/capabilities.txt"].split()[1], 16)
    may_look_anywhere = any(capabilities >> bit & 1 for bit in (19, 21, 38))  # SYS_PTRACE, SYS_ADMIN, PERFMON: root has
    if not may_look_anywhere:
        assert found["pry/1/files/parent.txt"] == ""
        assert "Permission denied" in found["pry/1/files/denied.txt"]

    # Lines are text of records, never records.
    (file,) = (airflow.stack.folder / "logs").rglob("dag_id=hostile/*/task_id=pry/attempt=1.log")
    records = [json.loads(line) for line in file.read_text().splitlines()]
    forged = [record for record in records if "forged" in record["event"]]
    assert [(record["level"], record["timestamp"][:4] != "2026-01") for record in forged] == [("info", True)]
    assert any('::batchy {"progress": 7}' in record["event"] for record in records), "a wrong line is a plain line"
    assert airflow.store.progress("hostile") == {}

    # A template in a command is code, in a variable it is data.
    assert found["take/1/stdout"] == "injected\n"
    assert found["safe/1/stdout"] == conf["file"]
