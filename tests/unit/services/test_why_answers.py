# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Why, from workflow files and a real Valkey, a result store and an archive; and what an Airflow adds."""

from __future__ import annotations

import math
from collections.abc import Collection
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from loaded_nights import ANN
from state_worlds import Clock
from why_nights import run, write

from batchy_provider.archive.archive_files import ArchiveFiles
from batchy_provider.archive.archiver import Archiver
from batchy_provider.bundles.bundle_cache import BundleCache
from batchy_provider.bundles.execution import Execution
from batchy_provider.bundles.execution_id import ExecutionId
from batchy_provider.bundles.execution_request import ExecutionRequest
from batchy_provider.bundles.result_store import ResultStore
from batchy_provider.bundles.script_context import ScriptContext
from batchy_provider.exceptions import UnknownWorkflowError
from batchy_provider.plan.airflow_facts import AirflowFacts, DagFacts
from batchy_provider.services.composition import Services
from batchy_provider.services.why_answers import WhyView
from batchy_provider.state.backend import Backend
from batchy_provider.state.connections import open_client
from batchy_provider.state.store import Store

DAILY = "0 0 * * *"


def codes(found: WhyView) -> list[str]:
    return [f"{link.workflow}:{link.code}" for link in found.chain]


def test_a_failure_two_workflows_away_is_the_root(services: Services, cfg: Path) -> None:
    write(cfg, "crm", schedule=DAILY)
    write(cfg, "dwh", schedule=DAILY, wait_for="crm")
    write(cfg, "report", schedule=DAILY, wait_for=["dwh"])
    batch = run(services, "crm", "failed")
    found = services.why.of("report")
    assert codes(found) == ["report:waiting", "dwh:waiting", "crm:failed"]
    assert (found.workflow, found.code) == ("report", "waiting")
    assert found.text.startswith(f"crm has failed: job load of batch {batch} ended at")
    assert f"dwh waits for crm: batch {batch} failed at" in found.chain[1].text
    run(services, "crm")
    assert codes(services.why.of("dwh"))[-1] == "dwh:not_due", "it has never run, and what it waits for is there"


def test_a_workflow_needs_no_file_and_no_state(services: Services, cfg: Path) -> None:
    write(cfg, "new", schedule=None)
    assert services.why.of("new").code == "no_schedule"
    write(cfg, "old", schedule=None)
    run(services, "old")
    (cfg / "old.yaml").unlink()
    assert services.why.of("old").code == "done"
    write(cfg, "old", text="jobs: {load: {bsh: 'true'}}")
    assert services.why.of("old").code == "faulty_file"
    assert "bsh" in services.why.of("old").text


def test_an_unknown_workflow_is_an_error_with_the_nearest_name(services: Services, cfg: Path) -> None:
    write(cfg, "sales")
    for ask in (services.why.of, services.why.impact):
        with pytest.raises(UnknownWorkflowError, match="did you mean 'sales'"):
            ask("sale")


def test_the_interval_that_is_missing_is_named(services: Services, cfg: Path) -> None:
    write(cfg, "crm", schedule=DAILY)
    write(cfg, "report", schedule=DAILY, wait_for={"workflow": "crm", "scope": "due"})
    services.workflows.load("crm", actor=ANN)
    text = services.why.of("report").chain[0].text
    assert "report waits for crm: waits for" in text
    assert "nothing loaded" in text


def test_windows_up_to_another_workflow_wait_for_it(services: Services, cfg: Path) -> None:
    window = {"until": {"workflows": ["crm"]}}
    write(cfg, "crm", schedule=None)
    write(cfg, "mart", window=window, initial_date="2026-01-01")
    run(services, "crm", "failed")
    assert codes(services.why.of("mart")) == ["mart:waiting", "crm:failed"]


def test_an_empty_window_is_no_reason_to_worry(redis_url: str, cfg: Path) -> None:
    clock = Clock()
    services = Services(store=lambda: Store(open_client(redis_url), clock=clock.read), cfg=cfg)
    write(cfg, "sales", schedule=DAILY, window={"align": "month"}, initial_date="2026-01-01")
    run(services, "sales")
    assert services.why.of("sales").code == "done"
    clock.now += timedelta(days=1)
    found = services.why.of("sales")
    assert found.code == "nothing_to_load"
    assert "its data is loaded up to 2026-11-01" in found.text
    services.close()


def test_a_holiday_is_named_with_the_next_due_time(redis_url: str, cfg: Path) -> None:
    clock = Clock()
    services = Services(store=lambda: Store(open_client(redis_url), clock=clock.read), cfg=cfg)
    (cfg / "_calendars.yaml").write_text("target2: {holidays: ECB}\n")
    write(cfg, "sales", schedule={"cron": "0 2 * * *", "calendar": "target2"}, initial_date="2026-01-01")
    clock.now = datetime(2026, 4, 2, 2, 5)
    run(services, "sales")
    assert services.why.of("sales").code == "done"
    clock.now = datetime(2026, 4, 3, 10)
    found = services.why.of("sales")
    assert found.code == "not_due"
    assert "sales is not due on 2026-04-03: Good Friday, ECB; it is due next at 2026-04-07 02:00 UTC" in found.text
    clock.now = datetime(2026, 4, 7, 3)
    assert services.why.of("sales").code == "not_started"
    services.close()


def test_a_schedule_by_cron_and_by_workflows_does_not_wait_for_them(services: Services, cfg: Path) -> None:
    write(cfg, "crm", schedule=DAILY)
    write(cfg, "report", schedule={"cron": DAILY, "after": ["crm"]})
    run(services, "crm", "failed")
    run(services, "report")
    assert services.why.of("report").code == "done"


def test_what_the_script_wrote_last_is_quoted_to_those_who_may_see_it(
    redis_url: str, cfg: Path, tmp_path: Path
) -> None:
    results = ResultStore(str(tmp_path / "results"))
    services = Services(store=lambda: Store(open_client(redis_url)), cfg=cfg, results=lambda: results)
    write(cfg, "sales")
    batch = run(services, "sales", "failed")
    identity = ExecutionId(workflow="sales", batch_id=str(batch), job="load", attempt="1")
    script = "echo first >&2; echo; printf 'ORA-00942: no table\\n\\n' >&2; exit 3"
    request = ExecutionRequest(identity=identity, script_context=ScriptContext(job="load"), command=script)
    Execution(request, cache=BundleCache(tmp_path / "cache"), results=results, work=tmp_path / "work").run()
    found = services.why.of("sales")
    assert found.code == "failed"
    assert "with exit code 3, closed by ann; stderr ends with: ORA-00942: no table" in found.text
    hidden = services.why.of("sales", sees_output=lambda name: name != "sales").text
    assert "ORA" not in hidden
    assert "with exit code 3" in hidden
    assert "ORA-00942" in services.why.all()["sales"].text
    services.close()


def test_failures_in_a_row_are_counted(services: Services, cfg: Path) -> None:
    write(cfg, "sales")
    run(services, "sales")
    for _ in range(3):
        run(services, "sales", "failed")
    assert "3 batches have failed since the last success" in services.why.of("sales").text


def test_lost_state_is_found_in_the_archive_at_the_end_of_a_chain(redis_url: str, cfg: Path, tmp_path: Path) -> None:
    results = ResultStore(str(tmp_path / "results"))
    files = ArchiveFiles(results.url.removeprefix("file://"))
    write(cfg, "crm", schedule=DAILY)
    write(cfg, "report", schedule=DAILY, wait_for="crm")
    store = Store(open_client(redis_url), archive=Archiver(lambda: files, warn=print))
    with_archive = Services(store=lambda: store, cfg=cfg, archive=lambda: files, results=lambda: results)
    run(with_archive, "crm")
    store.backend.client.flushdb()
    assert codes(with_archive.why.of("report")) == ["report:waiting", "crm:lost_state"]
    (cfg / "crm.yaml").unlink()
    assert with_archive.why.of("crm").code == "lost_state"
    assert with_archive.archive is not None
    with_archive.archive.restore("crm", actor=ANN)
    assert with_archive.why.of("crm").code == "done", "what is lost is compared again each time"
    with_archive.close()


def test_the_archive_is_not_asked_at_each_question_about_what_is_safe(
    redis_url: str, cfg: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = ResultStore(str(tmp_path / "results"))
    files = ArchiveFiles(results.url.removeprefix("file://"))
    services = Services(
        store=lambda: Store(open_client(redis_url)), cfg=cfg, archive=lambda: files, results=lambda: results
    )
    write(cfg, "sales")
    asked: list[str] = []
    really = ArchiveFiles.workflows
    monkeypatch.setattr(ArchiveFiles, "workflows", lambda self: asked.append("") or really(self))
    for _ in range(3):
        services.why.of("sales")
    assert len(asked) == 1
    services.close()


def test_airflow_says_more(redis_url: str, cfg: Path) -> None:
    asked: list[set[str]] = []

    def airflow(dag_ids: Collection[str]) -> AirflowFacts:
        asked.append(set(dag_ids))
        return AirflowFacts(dags={"crm": DagFacts(paused=True), "report": DagFacts()})

    services = Services(store=lambda: Store(open_client(redis_url)), cfg=cfg, airflow=airflow)
    write(cfg, "crm", schedule=DAILY)
    write(cfg, "report", schedule=DAILY, wait_for="crm")
    write(cfg, "other")
    assert codes(services.why.of("report")) == ["report:waiting", "crm:paused"]
    assert asked == [{"crm", "report"}], "only those that matter are asked about"
    services.close()


def test_one_question_answers_for_all_and_what_cannot_be_read_hides_no_other(services: Services, cfg: Path) -> None:
    write(cfg, "crm", schedule=DAILY)
    write(cfg, "report", schedule=DAILY, wait_for="crm")
    run(services, "crm", "failed")
    services.store.backend.client.hset("damaged", "job", '{"status": 1, "batch_id": 1}')
    services.names.expire()
    found = services.why.all()
    assert {name: each.code for name, each in found.items()} == {
        "crm": "failed",
        "report": "waiting",
        "damaged": "unreadable_state",
    }
    assert services.why.all(["report"])["report"] == found["report"], "what it waits for counts, also if not asked for"
    assert list(services.why.all(["report", "nobody"])) == ["report"]


def test_a_wait_whose_state_cannot_be_read_has_an_answer(services: Services, cfg: Path) -> None:
    write(cfg, "crm", schedule=DAILY)
    write(cfg, "report", schedule=DAILY, wait_for="crm")
    services.store.backend.client.set("crm", "no hash")
    assert codes(services.why.of("report")) == ["report:waiting", "crm:unreadable_state"]


def test_many_workflows_take_as_many_round_trips_as_one(
    services: Services, cfg: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trips: list[int] = []

    def counted(method: str) -> None:
        real = getattr(Backend, method)

        def count(self: Backend, *arguments: object, **more: object) -> object:
            trips.append(1)
            return real(self, *arguments, **more)

        monkeypatch.setattr(Backend, method, count)

    def trips_of(number: int) -> int:
        for each in range(number):
            write(cfg, f"crm{each}", schedule=DAILY)
            write(cfg, f"report{each}", schedule=DAILY, wait_for=f"crm{each}")
            write(cfg, f"mart{each}", window={"until": {"workflows": [f"crm{each}"]}}, initial_date="2026-01-01")
            run(services, f"crm{each}", "failed")
        trips.clear()
        assert len(services.why.all()) == 3 * number
        return len(trips)

    services.names.all()
    monkeypatch.setattr(services.names, "_refresh", math.inf)  # no scan for new names begins meanwhile
    counted("pipelined")
    counted("transact")
    counted("server_time")
    one = trips_of(1)
    assert trips_of(20) == one
    assert one <= 8


def test_impact_reads_the_files_and_the_state(services: Services, cfg: Path) -> None:
    write(cfg, "crm", schedule=DAILY)
    write(cfg, "dwh", schedule="0 1 * * *", wait_for="crm", deadline={"within": "2h", "notify": "my.Pager"})
    write(cfg, "mail", schedule={"after": ["dwh"]})
    found = services.why.impact("crm")
    assert [(each.workflow, [(s.workflow, s.by) for s in each.via]) for each in found.downstream] == [
        ("dwh", [("crm", "wait_for")]),
        ("mail", [("crm", "wait_for"), ("dwh", "after")]),
    ]
    assert found.downstream[0].deadline is not None
    assert found.downstream[0].deadline.endswith("T03:00:00.000000")
    assert {each.miss_probability for each in found.downstream} == {None}
    assert services.why.impact("crm", failed=True).downstream[0].miss_probability == 1.0
    assert services.why.impact("crm", late=timedelta(hours=30)).downstream[0].miss_probability == 1.0
    assert services.why.impact("crm", late=timedelta(minutes=1)).downstream[0].miss_probability is None


def test_an_error_in_the_calendar_file_is_the_root(services: Services, cfg: Path) -> None:
    (cfg / "_calendars.yaml").write_text("target2: {holidays: NOWHERE}\nshop: {weekend: [sun]}\n")
    write(cfg, "sales", schedule={"cron": "0 2 * * *", "calendar": "target2"})
    write(cfg, "crm", schedule={"cron": "0 2 * * *", "calendar": "shop"})
    found = services.why.of("sales")
    assert found.code == "faulty_file"
    assert "_calendars.yaml:1:" in found.text
    assert "NOWHERE" in found.text
    detail = services.workflows.get("sales")
    assert [Path(each.file).name for each in detail.faults] == ["sales.yaml", "_calendars.yaml"]
    assert (detail.file, detail.summary.faults) == ("sales.yaml", 2)
    assert services.workflows.get("crm").faults == [], "its own calendar is valid"
    (cfg / "_calendars.yaml").write_text("target2: {holidays: ECB}\nshop: {weekend: [sun]}\n")
    assert services.workflows.get("sales").faults == []
