# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""What faces are told of workflows, and what is kept of those who change them."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from batchy_provider.core.values import Actor, WorkflowConfig
from batchy_provider.exceptions import ConfigError, UnknownBatchError, UnknownWorkflowError, WindowError
from batchy_provider.services.answers import Audit
from batchy_provider.services.composition import Services
from batchy_provider.services.known_workflows import WorkflowNames
from batchy_provider.state.store import Store

ANN = Actor("ann", "rest", "127.0.0.1")
SALES = """\
description: Sales, every night
schedule: "0 2 * * *"
timezone: Europe/Paris
wait_for: [crm]
jobs:
  extract: {bash: "true", params: {region: eu}}
  load: {bash: "true"}
  page_on_call: {bash: "true", when: failed}
"""


def write(cfg: Path, name: str, text: str = SALES) -> Path:
    path = cfg / f"{name}.yaml"
    path.write_text(text)
    return path


def test_what_only_a_file_defines_and_what_only_redis_knows_are_both_listed(services: Services, cfg: Path) -> None:
    write(cfg, "sales")
    services.batches.open("orphan", actor=ANN, config=WorkflowConfig(name="orphan", jobs={"job": {}}))
    found = {summary.workflow: summary for summary in services.workflows.find().items}
    assert (found["sales"].in_cfg, found["sales"].in_redis, found["sales"].status) == (True, False, "new")
    assert found["sales"].jobs == ["extract", "load"]
    assert found["sales"].schedule == "0 2 * * * Europe/Paris"
    assert (found["orphan"].in_cfg, found["orphan"].in_redis, found["orphan"].status) == (False, True, "open")
    assert found["orphan"].holder == "ann"


def test_who_waits_for_whom_is_told_from_both_sides(services: Services, cfg: Path) -> None:
    write(cfg, "sales")
    write(cfg, "crm", "jobs: {extract: {bash: 'true'}}\n")
    found = {summary.workflow: summary for summary in services.workflows.find().items}
    assert found["sales"].waits_for == ["crm"]
    assert found["crm"].waited_for_by == ["sales"]
    assert services.workflows.get("crm").summary.waited_for_by == ["sales"]


def test_a_file_with_faults_is_listed_and_shown_with_them(services: Services, cfg: Path) -> None:
    path = write(cfg, "broken", "jobs: {extract: {bsh: x}}\n")
    (summary,) = services.workflows.find().items
    assert summary.faults > 0
    detail = services.workflows.get("broken")
    assert (detail.file, detail.source) == ("broken.yaml", path.read_text())
    assert any("did you mean 'bash'" in fault.message for fault in detail.faults)


def test_a_changed_file_is_read_again_and_an_unchanged_one_is_not(services: Services, cfg: Path) -> None:
    path = write(cfg, "sales")
    (before,) = services.catalog.read().workflows.values()
    assert services.catalog.read().workflows["sales"] is before
    path.write_text(SALES.replace("every night", "each night"))
    assert services.workflows.get("sales").summary.description == "Sales, each night"
    (cfg / "_defaults.yaml").write_text("timezone: Asia/Tokyo\n")
    path.write_text(SALES.replace("timezone: Europe/Paris\n", ""))
    assert services.workflows.get("sales").summary.timezone == "Asia/Tokyo"
    (cfg / "_defaults.yaml").write_text("timezone: America/Lima\n")
    assert services.workflows.get("sales").summary.timezone == "America/Lima"
    path.unlink()
    assert services.workflows.find().total == 0


def test_lists_are_searched_filtered_sorted_and_cut_into_pages(services: Services) -> None:
    for name in ("b", "a", "c"):
        services.batches.open(name, actor=ANN, config=WorkflowConfig(name=name, jobs={"job": {}}))
    services.batches.close("c", result="failed", actor=ANN)
    assert [s.workflow for s in services.workflows.find(order_by="-workflow").items] == ["c", "b", "a"]
    assert [s.workflow for s in services.workflows.find(status="failed").items] == ["c"]
    assert [s.workflow for s in services.workflows.find(search="A").items] == ["a"]
    assert [s.workflow for s in services.workflows.find(only={"a", "c"}).items] == ["a", "c"]
    page = services.workflows.find(limit=1, offset=1)
    assert ([s.workflow for s in page.items], page.total) == (["b"], 3)
    assert services.workflows.find(order_by="batch_end").items[0].workflow == "c"
    with pytest.raises(ConfigError, match="cannot sort by 'colour'"):
        services.workflows.find(order_by="colour")


def test_jobs_have_their_state_params_and_place(services: Services, cfg: Path) -> None:
    write(cfg, "sales", SALES.replace("region: eu", "region: eu, api_password: hunter2"))
    services.batches.open("sales", actor=ANN)
    services.workflows.switch("sales", "load", enabled=False, actor=ANN)
    extract, load, page = services.workflows.get("sales").job_states
    assert (extract.job, extract.status, extract.upstream) == ("extract", "open", ["open"])
    assert extract.params == {"region": "eu", "api_password": "***"}, "what tells of a secret is shown to nobody"
    assert (load.disabled, load.upstream) == (True, ["extract"])
    assert (page.job, page.kind) == ("page_on_call", "handler")


def test_the_last_success_is_told_also_after_a_failure(services: Services, cfg: Path) -> None:
    write(cfg, "sales")
    services.batches.open("sales", actor=ANN)
    ended = services.batches.close("sales", result="success", actor=ANN).batch_end
    services.batches.open("sales", actor=ANN)
    services.batches.close("sales", result="failed", actor=ANN)
    (summary,) = services.workflows.find().items
    assert summary.status == "failed"
    assert summary.last_success == ended == services.workflows.get("sales").summary.last_success


def test_progress_is_that_of_the_open_batch_alone(services: Services, cfg: Path) -> None:
    write(cfg, "sales")
    batch = services.batches.open("sales", actor=ANN)
    report = {"batch_id": batch.batch_id, "progress": 0.5, "message": "34/68"}
    services.store.set_progress("sales", "extract", report)
    services.store.set_progress("sales", "load", {**report, "batch_id": 1})
    (summary,) = services.workflows.find().items
    assert summary.progress == {"extract": report}
    assert services.workflows.get("sales").job_states[0].progress == report
    services.batches.close("sales", result="success", actor=ANN)
    assert services.workflows.find().items[0].progress == {}


def test_every_change_by_a_person_is_kept_with_who_from_where_and_why(
    services: Services, cfg: Path, audits: list[Audit]
) -> None:
    write(cfg, "sales")
    services.batches.open("sales", actor=ANN, why="by hand")
    services.batches.close("sales", result="failed", actor=ANN, why="bad files")
    services.workflows.set_window("sales", "2026-11-01", actor=ANN, why="late files", jobs=["load"])
    services.workflows.switch("sales", "load", enabled=False, actor=ANN, why="broken")
    services.workflows.switch("sales", "load", enabled=True, actor=ANN)
    services.workflows.load("sales", actor=ANN, why="anew")
    changes = services.workflows.get("sales").changes
    assert [change.why for change in changes] == ["anew", None, "broken", "late files", "bad files", "by hand"]
    assert {(change.by, change.source, change.address) for change in changes} == {("ann", "rest", "127.0.0.1")}
    actions = [audit.action for audit in audits]
    assert actions == ["open", "fail", "set_window", "disable", "enable", "load"]
    assert all(audit.actor == ANN for audit in audits)


def test_a_change_that_is_refused_is_not_told(services: Services, cfg: Path, audits: list[Audit]) -> None:
    write(cfg, "sales")
    with pytest.raises(UnknownWorkflowError):
        services.workflows.set_window("sales", "2026-11-01", actor=ANN)
    with pytest.raises(WindowError, match="move_watermark needs a window"):
        services.batches.open("sales", actor=ANN, move_watermark=True)
    services.batches.open("sales", actor=ANN)
    with pytest.raises(UnknownBatchError):
        services.batches.close("sales", result="success", actor=ANN, batch_id=1)
    assert [audit.action for audit in audits] == ["open"]
    assert len(services.workflows.get("sales").changes) == 1


def test_an_unknown_workflow_is_an_error_that_names_the_nearest(services: Services, cfg: Path) -> None:
    write(cfg, "sales")
    with pytest.raises(UnknownWorkflowError, match="did you mean 'sales'"):
        services.workflows.get("slaes")
    with pytest.raises(ConfigError, match="there is no file of workflow 'slaes'"):
        services.workflows.load("slaes", actor=ANN)
    with pytest.raises(UnknownWorkflowError):
        services.batches.history("slaes")


def test_history_has_pages_and_filters(services: Services, cfg: Path) -> None:
    write(cfg, "sales")
    for result in ("success", "failed", "success"):
        services.batches.open("sales", actor=ANN)
        services.batches.close("sales", result=result, actor=ANN)
    services.batches.open("sales", actor=ANN, from_date="2026-01-01", to_date="2026-01-02")
    assert services.batches.history("sales").total == 4
    assert [b.status for b in services.batches.history("sales", status="success").items] == ["success", "success"]
    assert [b.from_date for b in services.batches.history("sales", kind="history").items] == [
        "2026-01-01T00:00:00.000000"
    ]
    page = services.batches.history("sales", kind="live", limit=1, offset=1)
    assert ([b.status for b in page.items], page.total) == (["failed"], 3)
    assert services.batches.get("sales", page.items[0].batch_id).status == "failed"


def test_names_are_looked_for_once_and_again_in_the_background(redis_url: str) -> None:
    class Store:
        looks = 0

        def candidates(self) -> set[str]:
            Store.looks += 1
            return {f"look{Store.looks}"}

    names = WorkflowNames(lambda: Store(), refresh=0.05)
    assert names.all() == {"look1"}
    names.add("mine")
    assert names.all() == {"look1", "mine"}
    time.sleep(0.06)
    names.all()
    for _ in range(100):
        if names.all() == {"look2"}:
            break
        time.sleep(0.01)
    assert "look1" not in names.all()


def test_a_redis_that_is_not_there_is_told_at_every_question(services: Services) -> None:
    def broken() -> Store:
        raise ConfigError("no Redis")

    services = Services(store=broken)
    for _ in range(2):
        with pytest.raises(ConfigError, match="no Redis"):
            services.workflows.find()
