# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""State as metrics: what Prometheus' own parser reads of it, and what it says of a workflow in each state."""

from __future__ import annotations

import json
import re
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from redis import Redis

from batchy_provider.core.values import Actor, CloseRequest, OpenRequest, Window, WorkflowConfig
from batchy_provider.services.composition import Services
from batchy_provider.services.prometheus import GAUGES

ANN = Actor("ann")
FILE = """\
schedule: "0 0 * * *"
start_date: 2026-01-01
deadline: {within: 1s, notify: [{notifier: airflow.providers.smtp.notifications.smtp.SmtpNotifier}]}
wait_for: [other]
jobs: {load: {bash: "true"}, tidy: {bash: "true", enabled: false}}
"""

Found = dict[tuple[str, ...], float]


def metrics(services: Services) -> dict[str, Found]:
    """Metric → values of its labels → value, as the parser of Prometheus' client has them."""
    text, fault = services.metrics.exposition()
    assert fault is None
    found: dict[str, Found] = {}
    known = {gauge.name: gauge for gauge in GAUGES}
    for family in text_string_to_metric_families(text):
        assert (family.type, family.documentation) == ("gauge", known[family.name].help)
        for sample in family.samples:
            assert tuple(sample.labels) == known[family.name].labels
            found.setdefault(sample.name, {})[tuple(sample.labels.values())] = sample.value
    return found


def config(name: str = "sales") -> WorkflowConfig:
    return WorkflowConfig(name=name, jobs={"load": {}})


def night(services: Services, name: str = "sales", *, result: str | None = "success") -> None:
    services.store.open(name, OpenRequest(config=config(name)))
    if result is not None:
        services.store.close(name, CloseRequest(result=result))


def test_an_empty_redis(services: Services) -> None:
    assert metrics(services) == {"batchy_redis_up": {(): 1}}


def test_a_success(services: Services) -> None:
    night(services)
    found = metrics(services)
    assert found["batchy_workflow_status"] == {("sales", "success"): 1}
    assert found["batchy_workflow_failures_in_a_row"] == {("sales",): 0}
    assert abs(found["batchy_workflow_last_success_timestamp_seconds"]["sales",] - time.time()) < 60
    assert found["batchy_workflow_lag_seconds"]["sales",] < 60
    assert "batchy_workflow_open_seconds" not in found


def test_the_lag_is_that_of_what_has_been_loaded_also_while_a_batch_is_open_or_failed(services: Services) -> None:
    night(services)
    ago = datetime.now(timezone.utc) - timedelta(hours=30)
    services.workflows.set_window("sales", ago.isoformat(), actor=ANN)
    for step in ("set", "open", "failed"):
        if step == "open":
            night(services, result=None)
        if step == "failed":
            services.store.close("sales", CloseRequest(result="failed"))
        lag = metrics(services)["batchy_workflow_lag_seconds"]["sales",]
        assert timedelta(hours=30).total_seconds() <= lag < timedelta(hours=30, minutes=5).total_seconds(), step
    services.store.open("sales", OpenRequest(config=config()))
    services.store.close("sales", CloseRequest(result="success"))
    assert metrics(services)["batchy_workflow_lag_seconds"]["sales",] < 60


def test_before_the_first_success_there_is_no_lag(services: Services) -> None:
    night(services, result="failed")
    found = metrics(services)
    assert "batchy_workflow_lag_seconds" not in found
    assert "batchy_workflow_last_success_timestamp_seconds" not in found
    assert found["batchy_workflow_failures_in_a_row"] == {("sales",): 1}


def test_failures_in_a_row(services: Services) -> None:
    for result in ("failed", "success", "failed", "failed"):
        night(services, result=result)
    # A one-off load is none of the nights.
    old = OpenRequest(config=config(), window=Window(from_date="2026-01-01", to_date="2026-01-02"))
    services.store.close("sales", CloseRequest(result="failed", batch_id=services.store.open("sales", old).batch_id))
    assert metrics(services)["batchy_workflow_failures_in_a_row"] == {("sales",): 2}
    night(services, result=None)
    assert metrics(services)["batchy_workflow_failures_in_a_row"] == {("sales",): 2}, "while the next one runs, too"
    services.store.close("sales", CloseRequest(result="success"))
    assert metrics(services)["batchy_workflow_failures_in_a_row"] == {("sales",): 0}


def test_an_open_batch_and_its_progress(services: Services) -> None:
    night(services, result=None)
    batch = services.store.status("sales").batch
    assert batch is not None
    report = {"batch_id": batch.batch_id, "progress": 0.25, "message": "1/4", "at": "2026-11-22T18:39:48.000000"}
    services.store.set_progress("sales", "load", report)
    found = metrics(services)
    assert found["batchy_job_progress_ratio"] == {("sales", "load"): 0.25}
    assert 0 <= found["batchy_workflow_open_seconds"]["sales",] < 60


def test_what_a_file_says(services: Services, cfg: Path) -> None:
    (cfg / "sales.yaml").write_text(FILE)
    (cfg / "broken.yaml").write_text("jobs: 3\n")
    (cfg / "quiet.yaml").write_text('jobs: {load: {bash: "true"}}\n')
    found = metrics(services)
    assert found["batchy_workflow_late_seconds"]["sales",] > 0
    assert ("quiet",) not in found["batchy_workflow_late_seconds"]
    assert found["batchy_workflow_jobs"]["sales",] == 2
    assert found["batchy_workflow_jobs_disabled"]["sales",] == 1
    assert found["batchy_workflow_waits_for"]["sales",] == 1
    assert found["batchy_workflow_file_faults"] == {("sales",): 0, ("broken",): 1, ("quiet",): 0}
    assert found["batchy_workflow_status"]["quiet", "new"] == 1


def test_names_of_others_are_escaped(services: Services, redis_client: Redis) -> None:
    night(services, result=None)
    batch = services.store.status("sales").batch
    assert batch is not None
    name = 'back\\slash "quoted"\nnext größe'
    redis_client.hset("sales:progress", name, json.dumps({"batch_id": batch.batch_id, "progress": 1}))
    redis_client.hset("sales:progress", b"\xff", json.dumps({"batch_id": batch.batch_id, "progress": 0}))
    assert metrics(services)["batchy_job_progress_ratio"] == {("sales", name): 1, ("sales", "?"): 0}


def test_a_workflow_that_cannot_be_read_hides_no_other(services: Services, redis_client: Redis) -> None:
    night(services)
    night(services, "other")
    redis_client.hset("other", "load", json.dumps({"status": "failed", "from_date": "when?"}))
    assert metrics(services)["batchy_workflow_lag_seconds"].keys() == {("sales",)}


def test_only_some(services: Services) -> None:
    night(services)
    night(services, "secret")
    text, _ = services.metrics.exposition(only={"sales"})
    assert ("sales" in text, "secret" in text) == (True, False)


def test_a_login_that_may_only_look_is_enough(tmp_path: Path) -> None:
    from redis_server import Server

    from batchy_provider.local.servers import valkey_binary
    from batchy_provider.state.connections import open_client
    from batchy_provider.state.store import Store

    page = (Path(__file__).parents[3] / "docs" / "observability.md").read_text()
    (rule,) = re.findall(r"^```acl\nuser watcher (.*)\n```$", page, re.M)
    rights = tmp_path / "users.acl"
    given = rule.replace("PASSWORD", "pw")
    rights.write_text(f"user admin on >pw ~* &* +@all\nuser watcher {given}\nuser default off\n")
    server = Server(valkey_binary(), tmp_path, more={"aclfile": rights})
    plain, server.url = server.url, server.url.replace("://", "://admin:pw@")
    server.start()
    try:
        night(Services(store=lambda: Store(open_client(server.url)), cfg=tmp_path), result="failed")
        watcher = plain.replace("://", "://watcher:pw@")
        found = metrics(Services(store=lambda: Store(open_client(watcher)), cfg=tmp_path))
    finally:
        server.stop()
    assert found["batchy_workflow_failures_in_a_row"] == {("sales",): 1}


def test_a_redis_that_is_away_is_a_metric(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    from batchy_provider.local.ports import free_port
    from batchy_provider.state.connections import open_client
    from batchy_provider.state.store import Store

    away = Services(store=lambda: Store(open_client(f"redis://127.0.0.1:{free_port()}/0")), cfg=services.cfg)
    text, fault = away.metrics.exposition()
    assert text.splitlines()[-1] == "batchy_redis_up 0"
    assert "cannot be used" in str(fault)


def test_many_workflows_take_as_many_round_trips_as_one(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    from redis.client import Pipeline

    def packets() -> int:
        sent = []
        really = Pipeline.execute
        with monkeypatch.context() as patch:
            patch.setattr(Pipeline, "execute", lambda *a, **k: sent.append(1) or really(*a, **k))
            metrics(services)
        return len(sent)

    night(services, result="failed")
    services.names.all()
    once = packets()
    for number in range(30):
        night(services, f"wf_{number}", result="failed")
        services.names.add(f"wf_{number}")
    assert len(metrics(services)["batchy_workflow_status"]) == 31
    assert packets() == once <= 4


def test_gaps_are_counted_and_measured_and_those_of_disabled_jobs_are_not(services: Services) -> None:
    for start, end in (("2026-11-01", "2026-11-03"), ("2026-11-06", "2026-11-07")):
        window = Window(from_date=start, to_date=end)
        services.store.open("sales", OpenRequest(config=config(), window=window, move_watermark=True))
        services.store.close("sales", CloseRequest(result="success"))
    night(services, "whole")
    found = metrics(services)
    assert found["batchy_workflow_gaps"] == {("sales",): 1, ("whole",): 0}
    assert found["batchy_workflow_gap_seconds"] == {("sales",): 3 * 86_400, ("whole",): 0}
    services.workflows.switch("sales", "load", enabled=False, actor=ANN)
    assert metrics(services)["batchy_workflow_gap_seconds"][("sales",)] == 0
