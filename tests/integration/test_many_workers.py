# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""CeleryExecutor with two workers that share no disk: bundles, results and task logs are on S3, the state in Redis."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from itertools import pairwise
from pathlib import Path

import pytest
from airflow_host import own_stack
from nights import QUICK, Nights
from worker_machines import batchy, keys, printed, ran_on, sources, upload_bundle

from batchy_provider.local.rest import wait_for
from batchy_provider.local.topology import can_hide, many_machines

ROOT = Path(__file__).parents[2]
WORKERS = ("w1", "w2")
EXAMPLES = ("sales", "stock", "crm_extract")
HANDED = """
    schedule: null
    jobs:
      extract: {{bundle: "{url}", queue: w1}}
      load:
        queue: w2
        input: previous
        bash: |
          echo "$TMPDIR"; ls ..; wc -c < "$BATCHY_INPUT"
          ls {machines}
"""
REFILLED = """
    schedule: "0 2 * * *"
    timezone: UTC
    start_date: 2026-03-01
    max_active_runs: 4
    jobs:
      load:
        bash: |
          echo "$TMPDIR"
          case "$BATCHY_TO_DATE" in 2026-03-*)
            touch {marks}/$BATCHY_BATCH_ID
            while test "$(ls {marks} | wc -l)" -lt 3; do sleep 0.2; done
          esac
"""
SLICED = """
    timezone: UTC
    initial_date: {since}
    window: {{align: day, max: 1d}}
    jobs:
      extract:
        retries: 0
        queue: w1
        bash: |
          echo "$TMPDIR"
          if [ "${{BATCHY_FROM_DATE%%T*}}" = "$(cat {fails})" ]; then exit 1; fi
      load: {{queue: w2, bash: 'echo "$TMPDIR"'}}
"""
DAYS = 4

if os.environ.get("CI") != "true":
    pytest.importorskip("airflow.providers.amazon", reason="apache-airflow-providers-amazon[s3fs] is not installed")


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nights]:
    """An Airflow of six programs, each with a disk of its own; the others' it cannot see, where that can be had."""
    topology = many_machines(len(WORKERS), hidden=can_hide())
    with own_stack(tmp_path_factory.mktemp("many"), options=QUICK, topology=topology) as stack:
        yield Nights(stack)


def midnight(days: int) -> datetime:
    """The midnight, UTC, a number of days before the last one."""
    return datetime.now(timezone.utc).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=days)


@dataclass
class Started:
    """Nights that run at the same time.

    :param runs: workflow → run id.
    :param backfill: of ``refilled``.
    """

    runs: dict[str, str]
    backfill: int


@pytest.fixture(scope="module")
def started(many: Nights, tmp_path_factory: pytest.TempPathFactory) -> Started:
    """The examples, two jobs on different workers, and a backfill, all started at once."""
    script = 'echo "$TMPDIR"; head -c 3000000 /dev/urandom > "$BATCHY_OUTPUT"; echo 7 > "$BATCHY_OUTPUT_DIR/n.json"'
    url = upload_bundle(many, "handed.zip", script, tmp_path_factory.mktemp("handed"))
    marks = many.stack.folder / "started"
    marks.mkdir()
    (many.stack.folder / "fails").write_text(f"{midnight(DAYS - 1):%Y-%m-%d}")
    many.add_all(
        {
            "handed": HANDED.format(url=url, machines=many.stack.folder / "machines"),
            "refilled": REFILLED.format(marks=marks),
            "sliced": SLICED.format(since=f"{midnight(DAYS):%Y-%m-%dT%H:%M:%SZ}", fails=many.stack.folder / "fails"),
        }
    )
    for workflow in EXAMPLES:
        many.ready(workflow)
    runs = {workflow: many.start(workflow) for workflow in (*EXAMPLES, "handed", "sliced")}
    days = ("2026-03-10T00:00:00Z", "2026-03-12T12:00:00Z")
    return Started(runs, many.client.backfill("refilled", *days, max_active_runs=4))


def test_the_examples_succeed_and_one_waits_for_another(many: Nights, started: Started) -> None:
    for workflow in EXAMPLES:
        run_id = started.runs[workflow]
        assert many.client.wait_for_run(workflow, run_id, timeout=300) == "success", workflow
        batch = many.batch(workflow, run_id)
        assert (batch.status, batch.kind) == ("success", "live")
    assert many.store.batch(
        "crm_extract", int(many.client.xcom("sales", started.runs["sales"], "wait_for_crm_extract"))
    )
    assert many.client.import_errors() == []


def test_one_workers_output_reaches_the_other_through_s3_alone_and_a_cleared_job_takes_its_window_again(
    many: Nights, started: Started, tmp_path: Path
) -> None:
    run_id = started.runs["handed"]
    assert many.client.wait_for_run("handed", run_id, timeout=240) == "success"
    batch_id = str(many.batch("handed", run_id).batch_id)
    first, second = (batchy(many, "logs", "handed", job, "--batch", batch_id) for job in ("extract", "load"))
    assert (ran_on(first), ran_on(second)) == WORKERS
    assert "3000000" in second
    assert many.client.xcom("handed", run_id, "extract", "n") in (7, "7")

    # The same by REST, from the API server, whose disk has none of it either.
    with many.rest() as client:
        place = f"/batchy/api/v1/workflows/handed/batches/{batch_id}/jobs"
        assert len(client.get(f"{place}/extract/attempts/1/output").content) == 3_000_000
        assert client.get(f"{place}/load/attempts/1/stdout").text == second
    batchy(many, "download", "handed", "extract", "--batch", batch_id, "--into", str(tmp_path / "got"))
    got = tmp_path / "got" / f"handed-{batch_id}-extract-1"
    assert (got / "output").stat().st_size == 3_000_000

    # The task log is on S3 too, and nowhere else once the task has ended.
    assert "3000000" in many.log("handed", run_id, "load")
    assert any("task_id=load" in key for key in keys(many, "logs/dag_id=handed"))
    machines = many.stack.folder / "machines"
    assert not list((machines / "api-server").rglob("*task_id=*"))
    if many.stack.topology.hidden:
        assert second.split()[-1] == "w2", f"the disks of others are not there: {second}"
    for worker in WORKERS:
        work = machines / worker / "bundle-cache/work"
        wait_for(lambda work=work: not list(work.iterdir()), f"working copies of {worker} to be gone", timeout=240)
    assert "handed.zip" in sources(machines / "w1/bundle-cache")
    assert "handed.zip" not in sources(machines / "w2/bundle-cache"), "w2 has never fetched it"

    first_batch = many.batch("handed", run_id)
    many.client.clear("handed", run_id, ["load"])
    assert many.client.wait_for_run("handed", run_id, timeout=240) == "success"
    again = many.batch("handed", run_id)
    assert again.batch_id > first_batch.batch_id
    assert (again.from_date, again.to_date) == (first_batch.from_date, first_batch.to_date)
    assert "3000000" in batchy(many, "logs", "handed", "load", "--batch", str(again.batch_id))


def test_a_backfill_of_several_days_on_both_workers(many: Nights, started: Started) -> None:
    """The job of each day waits until three run at once: more than one worker has slots for."""
    wait_for(lambda: many.client.backfill_done(started.backfill), "the backfill", timeout=300)
    batches = [batch for batch in many.store.history("refilled") if batch.kind == "history"]
    windows = sorted((str(batch.from_date), str(batch.to_date)) for batch in batches)
    assert windows == list(pairwise(f"2026-03-{day:02}T02:00:00.000000" for day in range(9, 13)))
    assert {batch.status for batch in batches} == {"success"}
    assert {ran_on(printed(many, batch, "load")) for batch in batches} == set(WORKERS)


def test_slices_follow_one_another_on_both_workers_until_one_fails(many: Nights, started: Started) -> None:
    def ended(number: int) -> bool:
        states = many.client.run_states("sliced").values()
        return len(states) >= number and all(state in ("success", "failed") for state in states)

    wait_for(lambda: ended(2), "the slice that fails", timeout=400)
    assert sorted(run["state"] for run in many.client.runs("sliced")) == ["failed", "success"], "a failure stops it"
    (many.stack.folder / "fails").write_text("none")
    many.start("sliced")
    wait_for(lambda: many.store.count("sliced") > DAYS, "the other days", timeout=400)
    wait_for(lambda: ended(DAYS + 1), "the last run", timeout=400)

    batches = sorted(many.store.history("sliced", limit=100), key=lambda batch: batch.batch_id)
    loaded = [(str(batch.from_date), str(batch.to_date)) for batch in batches if batch.status == "success"]
    assert len(loaded) >= DAYS
    assert all(before[1] == after[0] for before, after in pairwise(loaded)), "windows touch"
    assert all(str(before.batch_end) <= str(after.started) for before, after in pairwise(batches)), "one at a time"
    for batch in batches:
        jobs = ("extract", "load") if batch.status == "success" else ("extract",)
        assert [ran_on(printed(many, batch, job)) for job in jobs] == list(WORKERS[: len(jobs)])


def test_a_worker_that_is_gone_in_mid_run_costs_nothing_the_other_takes_its_job(many: Nights) -> None:
    """Killed as a machine that loses power: its tasks, their scripts, and all that would have cleaned up."""
    loads = many.stack.folder / "loads"  # what the scripts have loaded: a warehouse, on no worker's disk
    loads.mkdir()
    many.add(
        "survivor",
        f"""
        schedule: null
        jobs:
          extract: {{bash: 'echo from-extract', queue: w1}}
          load:
            input: previous
            retries: 3
            retry_delay: 1s
            bash: |
              echo "$TMPDIR attempt $BATCHY_ATTEMPT $(cat "$BATCHY_INPUT")"
              echo "$TMPDIR" > {loads}/started-$BATCHY_ATTEMPT
              while test ! -e {loads}/go; do sleep 0.2; done
              echo "$BATCHY_FROM_DATE $BATCHY_TO_DATE" >> {loads}/windows
        """,
    )
    run_id = many.start("survivor")
    started = wait_for(lambda: list(loads.glob("started-*")), "the job to start", timeout=240)
    wait_for(lambda: started[0].read_text(), "its first line", timeout=240)
    lost = ran_on(started[0].read_text())
    batch_id = many.batch("survivor", run_id).batch_id
    many.stack.service(lost).kill()
    other = next(worker for worker in WORKERS if worker != lost)
    wait_for(lambda: len(list(loads.glob("started-*"))) > 1, "the other worker to take it", timeout=240)
    (loads / "go").touch()
    assert many.client.wait_for_run("survivor", run_id, timeout=240) == "success"
    many.stack.restart(lost)

    batch = many.batch("survivor", run_id)
    assert (batch.batch_id, batch.status) == (batch_id, "success")
    assert (loads / "windows").read_text().splitlines() == [f"{batch.from_date} {batch.to_date}"], "loaded once"
    output = batchy(many, "logs", "survivor", "load", "--batch", str(batch_id))
    assert ran_on(output) == other
    assert "from-extract" in output

    # A worker that gets SIGTERM, for example in an upgrade, finishes its tasks.
    (loads / "go").unlink()
    (loads / "started-1").unlink()
    run_id = many.start("survivor")
    wait_for(
        lambda: (loads / "started-1").exists() and (loads / "started-1").read_text(), "the next night", timeout=240
    )
    stopping = ran_on((loads / "started-1").read_text())
    os.kill(many.stack.service(stopping).pid, signal.SIGTERM)
    (loads / "go").touch()
    assert many.client.wait_for_run("survivor", run_id, timeout=240) == "success"
    assert many.client.task_instances("survivor", run_id)["load"]["try_number"] == 1
    assert many.batch("survivor", run_id).from_date == batch.to_date
    wait_for(lambda: not many.stack.service(stopping).alive(), "the worker to end", timeout=240)
