# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Three nights of the operators on a machine whose clock is wrong; started by `test_wrong_clocks`."""

from __future__ import annotations

import os
from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from airflow.sdk import DAG
from airflow.sdk.bases.operator import ExecutorSafeguard

from batchy_provider.operators.batch import BatchyCloseOperator, BatchyOpenOperator
from batchy_provider.operators.bundle import BashBundleOperator

TELL = """
# In mid-run the clock jumps.
echo "$JUMP" > "$CLOCK.new"
mv "$CLOCK.new" "$CLOCK"
sleep 1.5
printf '{"clock": "%s", "from": "%s", "to": "%s"}\\n' \
    "$(date -u +%FT%T.000000)" "$BATCHY_FROM_DATE" "$BATCHY_TO_DATE" >> "$TOLD"
"""


class TaskInstance:
    """As much of it as the operators look at."""

    dag_id, task_id, map_index, try_number = "timed", "load", -1, 1

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        self.start_date = datetime.now(timezone.utc)

    def xcom_push(self, key: str, value: Any) -> None:
        pass

    def get_dr_count(self, **_: Any) -> int:
        return 0

    def get_task_states(self, **_: Any) -> dict[str, dict[str, str]]:
        return {self.run_id: {"open": "success", "load": "success"}}

    def get_ti_count(self, **_: Any) -> int:
        return 2


def night(run_id: str, jump: str) -> None:
    with DAG("timed", schedule=None) as dag:
        opened = BatchyOpenOperator(task_id="open", workflow="timed", jobs={"load": {}})
        load = BashBundleOperator(
            task_id="load", workflow="timed", bash_command=TELL, env={"JUMP": jump}, inherit_env=True
        )
        closed = BatchyCloseOperator(task_id="close", workflow="timed")
        opened >> load >> closed
    now = datetime.now(timezone.utc)
    run = SimpleNamespace(
        dag_id="timed",
        run_id=run_id,
        run_type="manual",
        conf={},
        run_after=now,
        data_interval_start=None,
        data_interval_end=None,
        logical_date=None,
    )
    announced = SimpleNamespace(add=lambda *_, **__: None)
    context: Any = {"dag": dag, "ti": TaskInstance(run_id), "dag_run": run, "params": {}}
    context["outlet_events"] = dict.fromkeys(closed.outlets, announced)
    for task in (opened, load, closed):
        task.execute(context)


if __name__ == "__main__":
    ExecutorSafeguard.test_mode = True
    for begin, jump in ((9, 7), (6, -7), (-7, -2)):
        Path(os.environ["CLOCK"]).write_text(f"{begin * 3600:+d}\n")
        night(f"night_{begin}", f"{jump * 3600:+d}")
