# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Three nights in Airflow's own task runner on a machine whose clock is wrong; started by `test_wrong_clocks`."""

from __future__ import annotations

import logging
import os
import shutil
import sys
from pathlib import Path

from airflow.sdk import DAG
from airflow.utils.db import initdb

from batchy_provider.operators.batch import BatchyCloseOperator, BatchyOpenOperator
from batchy_provider.operators.bundle import BashBundleOperator

TELL = """
# In mid-run the clock jumps to where the night's conf has it.
echo "{{ dag_run.conf['jump'] }}" > "$CLOCK.new"
mv "$CLOCK.new" "$CLOCK"
sleep 1.5
printf '{"clock": "%s", "from": "%s", "to": "%s"}\\n' \
    "$(date -u +%FT%T.000000)" "$BATCHY_FROM_DATE" "$BATCHY_TO_DATE" >> "$TOLD"
"""

with DAG("timed", schedule=None) as dag:
    opened = BatchyOpenOperator(task_id="open", workflow="timed", jobs={"load": {}}, retries=0).as_setup()
    closed = BatchyCloseOperator(task_id="close", workflow="timed", retries=0)
    load = BashBundleOperator(task_id="load", workflow="timed", bash_command=TELL, inherit_env=True, retries=0)
    opened >> load >> closed
    closed.as_teardown(setups=opened, on_failure_fail_dagrun=True)

if __name__ == "__main__":
    logging.disable(logging.WARNING)
    here = Path(os.environ["AIRFLOW__CORE__DAGS_FOLDER"]) / Path(__file__).name
    shutil.copy(__file__, here)
    initdb()
    for begin, jump in ((9, 7), (6, -7), (-7, -2)):
        Path(os.environ["CLOCK"]).write_text(f"{begin * 3600:+d}\n")
        run = dag.test(run_conf={"jump": f"{jump * 3600:+d}"})
        if run.state != "success":
            sys.exit(f"the night with the clock {begin} hours off is {run.state}")
