# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""What the doctor finds at real servers that are fit, and at such as are not; it changes nothing at any."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from redis_cluster import started_cluster
from redis_sentinel import started_sentinel
from redis_server import KIND, Server, programs

from batchy_provider.bundles.result_store import ResultStore
from batchy_provider.cli.main import main
from batchy_provider.core.values import Holder, OpenRequest, Window, WorkflowConfig
from batchy_provider.services.health import examine
from batchy_provider.services.permission_checks import needed_commands
from batchy_provider.services.server_checks import of_info
from batchy_provider.state.connections import client, open_client, parse_url, store
from batchy_provider.state.keys import Keys
from batchy_provider.state.store import Store

DOCS = Path(__file__).parents[3] / "docs" / "redis.md"
CONFIG = WorkflowConfig(name="sales", jobs={"load": {}})


@pytest.fixture
def admin(lasting_server: Server) -> Iterator[redis.Redis]:
    with lasting_server.client() as client:
        yield client


def found(url: str, **more: Any) -> dict[str, tuple[str, str]]:
    """Check → level and text."""
    address = parse_url(url)
    findings = examine(store(address, client(address)), **more)
    return {finding.check: (finding.level, finding.text) for finding in findings}


def a_workflow_and_a_backfill(url: str) -> None:
    batches = Store(open_client(url))
    batches.open("sales", OpenRequest(config=CONFIG))
    day = Window(from_date="2026-01-01", to_date="2026-01-02")
    other = WorkflowConfig(name="only_backfilled", jobs={"load": {}})
    batches.open("only_backfilled", OpenRequest(config=other, window=day, backfill=True, holder=Holder(by="ops")))


def test_a_server_that_is_fit(lasting_server: Server, admin: redis.Redis, tmp_path: Path) -> None:
    a_workflow_and_a_backfill(lasting_server.url)
    before = {key: admin.dump(key) for key in admin.scan_iter()}
    said = found(lasting_server.url, results=ResultStore(str(tmp_path / "results")))
    assert {level for level, _ in said.values()} == {"ok"}, said
    assert said.keys() == {
        *("connection", "tls", "version", "memory", "persistence", "replicas", "clock", "rights", "keys", "results")
    }
    assert {key: admin.dump(key) for key in admin.scan_iter()} == before


def may(admin: redis.Redis, change: str) -> None:
    admin.execute_command("ACL", "SETUSER", "default", change)


@pytest.mark.parametrize(
    ("spoil", "check", "level", "text"),
    [
        (lambda r: r.config_set("maxmemory-policy", "allkeys-lru"), "memory", "bad", "Set noeviction"),
        (lambda r: r.config_set("maxmemory", 1), "memory", "bad", "when it is full, nothing opens or closes"),
        (lambda r: r.config_set("appendonly", "no"), "persistence", "warn", "Set `appendonly yes`"),
        (lambda r: r.replicaof("127.0.0.1", "1"), "role", "bad", "this is a replica"),
        (lambda r: r.set("celery", "x"), "keys", "warn", "1 keys of other programs, such as 'celery'"),
        (lambda r: may(r, "-copy"), "rights", "bad", "COPY is refused"),
        (lambda r: may(r, "-subscribe"), "rights", "bad", "SUBSCRIBE is refused"),
        (lambda r: may(r, "resetchannels"), "rights", "bad", "PUBLISH is refused"),
        (lambda r: may(r, "-info"), "redis", "bad", "lacks a required permission"),
    ],
)
def test_what_is_wrong_is_named(
    lasting_server: Server,
    admin: redis.Redis,
    spoil: Callable[[redis.Redis], Any],
    check: str,
    level: str,
    text: str,
) -> None:
    spoil(admin)
    assert found(lasting_server.url)[check][0] == level
    assert text in str(examine(Store(open_client(lasting_server.url))))


def test_a_disk_that_takes_nothing(lasting_server: Server, admin: redis.Redis, tmp_path: Path) -> None:
    (tmp_path / "dump.rdb").mkdir()
    admin.bgsave()
    while admin.info("persistence")["rdb_last_bgsave_status"] == "ok":
        pass
    assert "see its log, and whether its disk is full" in found(lasting_server.url)["persistence"][1]


def test_versions() -> None:
    def level(**info: str) -> str:
        return next(iter(of_info(info))).level

    assert level(redis_version="6.0.16") == level(redis_version="7.2.4", valkey_version="7.1.0") == "bad"
    assert level(redis_version="6.2.14") == level(redis_version="7.2.4", valkey_version="7.2.0") == "ok"


def test_a_result_store_that_is_not_to_be_reached(lasting_server: Server) -> None:
    class Away:
        is_local = False
        url = "s3://away"

        @property
        def root(self) -> Any:
            raise OSError("no route to host")

    level, text = found(lasting_server.url, results=Away())["results"]
    assert (level, text) == ("bad", "s3://away cannot be used: OSError: no route to host")


def test_replicas_that_are_waited_for_and_are_not_there(lasting_server: Server) -> None:
    assert found(f"{lasting_server.url}?wait_replicas=2")["replicas"][0] == "bad"


@pytest.mark.slow
def test_by_sentinel(tmp_path: Path) -> None:
    with started_sentinel(tmp_path) as watched:
        said = found(watched.url)
        assert said["connection"] == ("ok", f"by Sentinel, 127.0.0.1:{watched.ports[0]}")
        assert said["replicas"][0] == "ok"
        assert said["sentinel"] == ("warn", "1 in all; three Sentinels on three machines survive the loss of one")
        hosts = f"127.0.0.1:1,{watched.url.partition('://')[2]}"
        texts = str(examine(Store(open_client(f"redis+sentinel://{hosts}"))))
        assert "127.0.0.1:1 cannot be asked about mymaster" in texts


def test_a_cluster(tmp_path: Path) -> None:
    with started_cluster(tmp_path) as cluster:
        a_workflow_and_a_backfill(cluster.url)
        cluster.nodes[1].execute_command("ACL SETUSER default -zadd")
        findings = examine(Store(open_client(cluster.url)))
        assert [f.level for f in findings if f.check == "version"] == ["ok"] * 3
        assert next(f.text for f in findings if f.check == "replicas").endswith("there is nothing to take over")
        refused = [f.text for f in findings if f.check == "rights"]
        assert len(refused) == 1, "one node of three"
        assert "ZADD" in refused[0]
        assert [f.level for f in findings if f.check == "keys"] == ["ok"]


def test_it_tries_all_that_the_documented_rule_grants() -> None:
    (rule,) = re.findall(r"^```acl\n(.*)\n```$", DOCS.read_text(), re.M)
    outside, queued = needed_commands(Keys("sales"))
    tried = {str(command[0]).lower() for command in (*outside, *queued)}
    # These it uses itself to try the others, or they make no difference to the work.
    itself = {"multi", "exec", "subscribe", "unsubscribe", "wait"}
    granted = {name for name in re.findall(r"\+([a-z|]+)", rule) if not name.startswith("client|")}
    assert granted - itself == tried


def test_the_command(lasting_server: Server, admin: redis.Redis, capsys: pytest.CaptureFixture[str]) -> None:
    url = ["--redis-url", lasting_server.url]
    assert main([*url, "doctor"]) == 0
    assert "append only file" in capsys.readouterr().out
    admin.set("celery", "x")
    assert main([*url, "doctor"]) == 0
    assert main([*url, "doctor", "--strict"]) == 1
    admin.config_set("maxmemory-policy", "allkeys-lfu")
    capsys.readouterr()
    assert main([*url, "-o", "json", "doctor"]) == 1
    findings = {finding["check"]: finding for finding in json.loads(capsys.readouterr().out)}
    assert findings["memory"]["level"] == "bad"
    assert main(["--redis-url", "redis://127.0.0.1:1", "doctor"]) == 1
    assert "refused" in capsys.readouterr().out


@pytest.mark.skipif("redis-6.2" not in programs() or KIND == "redis-6.2", reason="no Redis 6.2 here, or all on it")
def test_the_oldest_redis(tmp_path: Path) -> None:
    server = Server(programs()["redis-6.2"], tmp_path, keeps=True)
    server.start()
    try:
        assert {level for level, _ in found(server.url).values()} == {"ok"}
    finally:
        server.stop()


@pytest.mark.parametrize("name", [None, "north"])
def test_runs_of_an_airflow_without_a_name_are_reported(redis_url: str, name: str | None) -> None:
    batches = Store(open_client(redis_url))
    for workflow in ("crm", "erp", "hr", "sales"):
        config = WorkflowConfig(name=workflow, jobs={"load": {}})
        holder = Holder(dag_id=workflow, run_id="nightly", deployment=name)
        batches.open(workflow, OpenRequest(config=config, holder=holder))
    batches.open("by_hand", OpenRequest(config=WorkflowConfig(name="by_hand", jobs={"load": {}})))
    said = found(redis_url)
    if name is not None:
        assert "deployment" not in said
        return
    level, text = said["deployment"]
    assert level == "warn"
    assert "the last run of crm, erp, hr and 1 more was that of an Airflow without a name" in text
    assert "Set [batchy] deployment" in text
