# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Easter on a real scheduler: the bank's workflow leaves out the holidays, and nobody waits for it on them."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import date, datetime, timedelta
from itertools import islice
from typing import Any

import pytest
from nights import Nights

from batchy_provider.core.calendars import Calendar
from batchy_provider.core.schedules import DayRule, Days, Period, Schedule
from batchy_provider.local.rest import wait_for

CALENDARS = "easter_bank: {holidays: ECB}\n"
BANK = """
    schedule: {cron: "0 2 * * *", calendar: easter_bank}
    timezone: Europe/Berlin
    start_date: 2026-04-02
    end_date: 2026-04-06
    catchup: true
    jobs:
      load:
        initial_date: 2025-04-01
        bash: echo "window $BATCHY_FROM_DATE $BATCHY_TO_DATE"
"""
SHOP = """
    schedule: "0 3 * * *"
    timezone: Europe/Berlin
    start_date: 2026-04-02
    end_date: 2026-04-04
    catchup: true
    wait_for: {workflow: easter_bank_night, scope: due}
    jobs: {load: {initial_date: 2025-04-01, bash: "true"}}
"""
QUARTERS = """
    schedule: {cron: "30 6 * * *", calendar: easter_bank, on: {nth: 1, of: quarter}, after: [easter_bank_night]}
    timezone: Europe/Berlin
    jobs: {load: {bash: "true"}}
"""
FIRST_OF_QUARTER = Schedule(
    crons=("30 6 * * *",),
    timezone="Europe/Berlin",
    calendar=Calendar(name="easter_bank", holidays=("ECB",)),
    on=DayRule(days=Days.NTH, nth=1, of=Period.QUARTER),
)
# Maundy Thursday, two in the morning in Berlin; Good Friday and Easter Monday follow.
THURSDAY = "2026-04-02T00:00:00"


@pytest.fixture(scope="module", autouse=True)
def easter(airflow: Nights) -> None:
    (airflow.cfg / "_calendars.yaml").write_text(CALENDARS)
    airflow.add_all({"easter_bank_night": BANK, "easter_shop_night": SHOP, "easter_bank_quarters": QUARTERS})


def ended(airflow: Nights, workflow: str, count: int, **which: Any) -> list[dict[str, Any]]:
    """The runs of a workflow in their order, when so many have ended."""

    def runs() -> list[dict[str, Any]] | None:
        found = airflow.client.runs(workflow, **which)
        done = [run for run in found if run["state"] in ("success", "failed")]
        return sorted(done, key=lambda run: str(run["logical_date"])) if len(done) >= count else None

    found: list[dict[str, Any]] = wait_for(runs, f"{count} runs of {workflow}", timeout=300)
    return found


def test_the_bank_leaves_out_good_friday_and_the_shop_does_not_wait_for_it(airflow: Nights) -> None:
    friday = ended(airflow, "easter_shop_night", 2, run_type="scheduled")
    assert [(run["logical_date"][:19], run["state"]) for run in friday] == [
        ("2026-04-02T01:00:00", "success"),
        ("2026-04-03T01:00:00", "success"),
    ]
    log = airflow.log("easter_shop_night", friday[1]["dag_run_id"], "wait_for_easter_bank_night")
    assert "has loaded all that was due" in log
    (bank,) = ended(airflow, "easter_bank_night", 1, run_type="scheduled")
    assert (bank["logical_date"][:19], bank["state"]) == (THURSDAY, "success")
    assert airflow.batch("easter_bank_night", bank["dag_run_id"]).to_date == f"{THURSDAY}.000000"


def test_a_backfill_over_easter_loads_from_fire_to_fire(airflow: Nights) -> None:
    backfill = airflow.client.backfill("easter_bank_night", "2025-04-17T00:00:00Z", "2025-04-22T12:00:00Z")
    wait_for(lambda: airflow.client.backfill_done(backfill), "the backfill", timeout=300)
    batches = [batch for batch in airflow.store.history("easter_bank_night") if batch.kind == "history"]
    assert sorted((str(batch.from_date)[:16], str(batch.to_date)[:16]) for batch in batches) == [
        ("2025-04-16T00:00", "2025-04-17T00:00"),
        ("2025-04-17T00:00", "2025-04-22T00:00"),
    ]
    # On Good Friday the bank was not due: its data of Thursday night is all that the shop can ask for.
    shop = airflow.client.backfill("easter_shop_night", "2025-04-18T00:00:00Z", "2025-04-18T12:00:00Z")
    wait_for(lambda: airflow.client.backfill_done(shop), "the backfill of the shop", timeout=300)
    (run,) = ended(airflow, "easter_shop_night", 1, run_type="backfill")
    assert run["state"] == "success"


def test_airflow_lists_the_fires_of_the_schedule_and_shows_it_in_words(airflow: Nights) -> None:
    command = [sys.executable, "-m", "airflow", "dags", "next-execution", "easter_bank_quarters"]
    done = subprocess.run(
        [*command, "--num-executions", "5"],
        env=airflow.stack.environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=True,
    )
    # Beside lines of the log.
    listed = re.findall(r"^\d{4}-\d\d-\d\dT[\d:]+\+00:00$", done.stdout, re.MULTILINE)
    first = datetime.fromisoformat(listed[0]).replace(tzinfo=None)
    fires = islice(FIRST_OF_QUARTER.fires(first, first + timedelta(days=900)), 5)
    assert [datetime.fromisoformat(line).replace(tzinfo=None) for line in listed] == list(fires)
    dag = airflow.client.request("GET", "/dags/easter_bank_quarters")
    assert dag["timetable_summary"] == "Asset or 30 6 * * *, 1st business day of the quarter of easter_bank"
    assert "1st business day of the quarter of easter_bank" in dag["timetable_description"]


def test_an_upstreams_success_starts_a_run_that_is_due_at_that_moment(airflow: Nights) -> None:
    airflow.run("easter_bank_night")
    runs = ended(airflow, "easter_bank_quarters", 1, run_type="asset_triggered")
    assert {run["state"] for run in runs} == {"success"}


def test_only_a_changed_calendar_makes_a_new_version_of_the_dag(airflow: Nights) -> None:
    def versions() -> int:
        answer = airflow.client.request("GET", "/dags/easter_bank_night/dagVersions")
        return int(answer["total_entries"])

    def parsed() -> str:
        return str(airflow.client.request("GET", "/dags/easter_bank_night")["last_parsed_time"])

    ended(airflow, "easter_bank_night", 1)
    before, last = versions(), parsed()
    airflow.read_until(lambda: parsed() != last, "another parse")
    assert versions() == before
    (airflow.cfg / "_calendars.yaml").write_text(f"easter_bank: {{holidays: ECB, add: [{date(2026, 12, 24)}]}}\n")
    airflow.read_until(lambda: versions() > before, "a new version of the DAG")
