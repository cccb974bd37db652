# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""A week of outage, caught up day by day on a whole Airflow without a person; a failure or a pause stops that."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from itertools import pairwise
from pathlib import Path
from typing import Any

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
          day="${{BATCHY_FROM_DATE%%T*}}"
          if [ "$day" = "$(cat {obstacles}/fails)" ]; then exit 1; fi
          if [ "$day" = "$(cat {obstacles}/lasts)" ]; then touch {obstacles}/begun; fi
          while [ "$day" = "$(cat {obstacles}/lasts)" ]; do sleep 0.2; done
      parts:
        for_each: [a, b]
        bash: echo "$ITEM"
      report:
        independent: true
        bash: echo done
"""
CLOCK = """
    jobs: {tick: {bash: echo}}
"""
DAYS = 7


def write(file: Path, text: str) -> None:
    """Replace a file at once: a script may read it just now."""
    new = file.with_suffix(".new")
    new.write_text(text)
    new.replace(file)


def runs(airflow: Nights, workflow: str) -> list[dict[str, Any]]:
    """The runs of a workflow in the order in which they were started."""
    return sorted(airflow.client.runs(workflow), key=lambda run: str(run["queued_at"]))


def test_a_week_of_outage_is_caught_up_one_day_after_another(airflow: Nights, tmp_path: Path) -> None:
    since = datetime.now(timezone.utc).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=DAYS)
    for name, day in {"fails": 2, "lasts": 4}.items():
        (tmp_path / name).write_text(f"{since + timedelta(days=day):%Y-%m-%d}")
    text = SLICED.format(since=f"{since:%Y-%m-%dT%H:%M:%SZ}", obstacles=tmp_path)
    airflow.add_all({"outage": text, "outage_clock": CLOCK})

    def ended(number: int) -> bool:
        states = airflow.client.run_states("outage").values()
        return len(states) >= number and all(state in ("success", "failed") for state in states)

    # A failure stops the slices.
    airflow.start("outage")
    wait_for(lambda: ended(3), "two days and the one that fails", timeout=400)
    assert [run["state"] for run in runs(airflow, "outage")] == ["success", "success", "failed"]

    # The next due run takes the same slice. It fails too, and stops the slices again.
    airflow.run("outage", timeout=400)
    assert [run["state"] for run in runs(airflow, "outage")] == ["success", "success", "failed", "failed"]

    # A person clears the failed run, and the slices go on, until the DAG is paused.
    write(tmp_path / "fails", "none")
    failed = next(run["dag_run_id"] for run in runs(airflow, "outage") if run["state"] == "failed")
    assert failed.startswith("slice__")
    airflow.client.clear("outage", failed)
    airflow.client.wait_for_run("outage", failed, states=["success"], timeout=400)
    wait_for((tmp_path / "begun").exists, "the slice during which the DAG is paused", timeout=400)
    airflow.client.unpause("outage", paused=True)
    count = airflow.store.count("outage")
    write(tmp_path / "lasts", "none")
    lasting = runs(airflow, "outage")[-1]["dag_run_id"]
    airflow.client.wait_for_task("outage", lasting, "extract", ["success"], timeout=400)
    for _ in range(2):
        assert airflow.run("outage_clock", timeout=400)[1] == "success"
    assert airflow.store.count("outage") == count, "no slice opens while the DAG is paused"

    # When a person unpauses it, the rest follows.
    airflow.client.unpause("outage")
    wait_for(lambda: airflow.store.count("outage") > DAYS + 1, "the rest of the days", timeout=600)
    wait_for(lambda: ended(DAYS + 1), "the last run", timeout=400)

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


LOADS = """
    schedule: {schedule}
    timezone: UTC
    start_date: {since}
    catchup: true
    jobs:
      load: {{bash: echo}}
"""


def test_a_dag_that_was_deleted_and_is_parsed_again_loads_nothing_old(airflow: Nights) -> None:
    since = datetime.now(timezone.utc).date() - timedelta(days=3)
    daily = LOADS.format(schedule='"0 0 * * *"', since=since)
    by_hand = LOADS.format(schedule="null", since=since)
    names = ("deleted_daily", "deleted_by_hand")

    def due_again() -> list[str]:
        found = airflow.client.run_states("deleted_daily")
        return list(found) if len(found) > 3 and set(found.values()) <= {"success", "failed"} else []

    airflow.add_all(dict(zip(names, (daily, by_hand), strict=True)))
    for run_id in ("first", "second"):
        assert airflow.run("deleted_by_hand", dag_run_id=run_id, timeout=400)[1] == "success"
    first = set(wait_for(due_again, "the days that were missed", timeout=400))
    loaded = {name: airflow.store.history(name, limit=100)[0].to_date for name in names}

    for name in names:
        airflow.client.request("DELETE", f"/dags/{name}")
    for name in names:
        airflow.ready(name)
    assert airflow.run("deleted_by_hand", dag_run_id="first", timeout=400)[1] == "success"
    again = set(wait_for(due_again, "the same days again", timeout=400))
    assert first <= again, "Airflow makes the runs of the same days again, with the same ids"

    for name in names:
        windows = sorted((str(b.from_date), str(b.to_date)) for b in airflow.store.history(name, limit=100))
        assert all(before[1] == after[0] for before, after in pairwise(windows)), "nothing is loaded twice"
        assert windows[-1][1] > str(loaded[name])
    batch = airflow.batch("deleted_by_hand", "first")
    assert (batch.kind, batch.from_date) == ("live", loaded["deleted_by_hand"])
    log = airflow.log("deleted_by_hand", "first", "open")
    assert "was deleted in Airflow since" in log
