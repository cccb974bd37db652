# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Ten days of outage, caught up day by day on a whole Airflow without a person; a failure stops that."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from itertools import pairwise
from pathlib import Path

from nights import Nights

from batchy_provider.local.rest import wait_for

SLICED = """
    timezone: UTC
    initial_date: {since}
    window: {{align: day, max: 1d}}
    jobs:
      extract:
        retries: 0
        bash: |
          if [ "${{BATCHY_FROM_DATE%%T*}}" = "$(cat {obstacle})" ]; then exit 1; fi
      parts:
        for_each: [a, b]
        bash: echo "$ITEM"
      report:
        independent: true
        bash: echo done
"""
DAYS = 10


def test_ten_days_of_outage_are_caught_up_one_day_after_another(airflow: Nights, tmp_path: Path) -> None:
    since = datetime.now(timezone.utc).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=DAYS)
    obstacle = tmp_path / "obstacle"
    obstacle.write_text(f"{since + timedelta(days=3):%Y-%m-%d}")
    airflow.add_all({"outage": SLICED.format(since=f"{since:%Y-%m-%dT%H:%M:%SZ}", obstacle=obstacle)})

    def ended(number: int) -> bool:
        runs = airflow.client.runs("outage")
        return len(runs) >= number and all(run["state"] in ("success", "failed") for run in runs)

    airflow.start("outage")
    wait_for(lambda: ended(4), "three days and the one that fails", timeout=400)
    states = [run["state"] for run in airflow.client.runs("outage")]
    assert states == ["success", "success", "success", "failed"], "a failure stops it"

    # A person clears the failed run, and the slices go on.
    obstacle.write_text("none")
    failed = airflow.client.runs("outage")[-1]["dag_run_id"]
    assert failed.startswith("slice__")
    airflow.client.clear("outage", failed)
    airflow.client.wait_for_run("outage", failed, states=["success"], timeout=400)
    wait_for(lambda: airflow.store.count("outage") > DAYS, "the rest of the days", timeout=600)
    wait_for(lambda: ended(DAYS), "the last run", timeout=400)

    batches = sorted(airflow.store.history("outage", limit=100), key=lambda batch: batch.batch_id)
    loaded = [(batch.from_date, batch.to_date) for batch in batches if batch.status == "success"]
    assert all(before[1] == after[0] for before, after in pairwise(loaded)), "windows touch"
    assert loaded[0][0] == f"{since:%Y-%m-%dT%H:%M:%S.%f}"
    assert all(
        datetime.fromisoformat(end) - datetime.fromisoformat(start) == timedelta(days=1) for start, end in loaded
    )
    assert len(loaded) >= DAYS
    for before, after in pairwise(batches):
        assert before.batch_end is not None
        assert after.started is not None
        assert before.batch_end <= after.started, "one at a time"

    run_id, state = airflow.run("outage")
    if airflow.store.count("outage") == len(batches):  # no midnight has passed since
        assert state == "success"
        states = airflow.tasks("outage", run_id)
        assert [states[name] for name in ("open", "extract", "report", "close")] == ["skipped"] * 4
