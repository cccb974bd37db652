# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Junk under one key of Redis or on its channels: all other workflows remain readable.

Asked over REST and the command line. No answer is an error of the server's, and no command ends in a traceback.
"""

from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from typing import Any

import pytest
from api_server import Api
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from redis import Redis
from redis_junk import (
    DAMAGES,
    EVENTS,
    WORKFLOW,
    Damage,
    _another_type,
    _entry,
    _inside,
    _new_field,
    _of_others,
    _raw_field,
    everywhere,
)
from thoroughness import scaled

from batchy_provider.cli.main import main
from batchy_provider.core.values import Actor, CloseRequest, Holder, OpenRequest, WorkflowConfig
from batchy_provider.exceptions import BatchyError
from batchy_provider.plugin import airflow_services
from batchy_provider.state.connections import open_client
from batchy_provider.state.deliveries import Subscription, lease
from batchy_provider.state.keys import EVENTS_CHANNEL
from batchy_provider.state.store import Store

GOOD = "good"
LISTS = ("workflows", "overview", "archive/lost")
ABOUT_ONE = ("", "/jobs", "/changes", "/batches", "/archive", "/executions", "/wait")


def fill(redis: Redis) -> None:
    """Write a valid workflow and one to damage: closed and open batches, a disabled job, progress, a subscription."""
    store = Store(redis)
    for name in (GOOD, WORKFLOW):
        config = WorkflowConfig(name=name, jobs={"extract": {"region": "eu"}, "load": {"nested": {"list": [1, None]}}})
        batch = store.open(name, OpenRequest(config=config, holder=Holder(by="ann", token="t")))
        store.close(name, CloseRequest(result="success", batch_id=batch.batch_id))
        store.disable(name, "load", by="ann", why="late")
        batch = store.open(name, OpenRequest(config=config, holder=Holder(dag_id=name, run_id="r", token="u")))
        store.set_progress(name, "extract", {"batch_id": batch.batch_id, "progress": 0.5, "message": "half"})
        lease(store.backend, Subscription(workflow=name), "me")


@pytest.fixture
def world(api: Api, redis_client: Redis) -> dict[bytes, Any]:
    """Return the content of Redis before any damage, to restore it."""
    (api.cfg / f"{GOOD}.yaml").write_text('jobs: {extract: {bash: "true"}}\n')
    (api.cfg / f"{WORKFLOW}.yaml").write_text('schedule: "0 2 * * *"\ndeadline: 1h\njobs: {extract: {bash: "true"}}\n')
    fill(redis_client)
    return {key: redis_client.dump(key) for key in redis_client.scan_iter()}


def put_back(redis: Redis, world: dict[bytes, Any]) -> None:
    redis.flushall()
    for key, dumped in world.items():
        redis.restore(key, 0, dumped)
    airflow_services.get_services().names.expire()
    airflow_services.get_services().names._scan()


def cli(url: str, *words: str) -> tuple[int, str, str]:
    """Run a command in this process, so that a traceback fails the test."""
    out, errors = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(errors):
        code = main(["--redis-url", url, *words])
    out.getvalue().encode()
    return code, out.getvalue(), errors.getvalue()


@pytest.mark.slow
@pytest.mark.parametrize("value", ["\ud800", {"\ud800": 1}])
def test_text_that_is_not_utf8_breaks_no_response(
    api: Api, redis_client: Redis, world: dict[bytes, Any], value: Any
) -> None:
    broken = []
    client = api.client()
    for number, damage in enumerate([*everywhere(redis_client, value)]):
        put_back(redis_client, world)
        damage(redis_client)
        for part in ABOUT_ONE:
            answer = client.get(f"/api/v1/workflows/{WORKFLOW}{part}")
            if answer.status_code not in (200, 404, 409):
                broken.append((number, part, answer.status_code))
    assert not broken


@pytest.mark.slow
@example([_of_others(b"orders", b"17", b'{"status":"shipped"}')])
@example([_another_type(":closed", "string")])
@example([_another_type("", "string")])
@example([_raw_field(4, 0, b"[[")])
@example([_new_field(4, b"load", b"[[")])
@example([_entry(":closed", "17", float("inf"))])
@example([_entry(":history", "abc", 1e300)])
@example([_inside(0, 0, place, "\ud800") for place in range(9)])
@given(st.lists(DAMAGES, min_size=1, max_size=3))
@settings(max_examples=scaled(10), suppress_health_check=list(HealthCheck))
def test_junk_in_redis_leaves_the_neighbours_readable(
    api: Api, redis_client: Redis, redis_url: str, world: dict[bytes, Any], damages: list[Damage]
) -> None:
    put_back(redis_client, world)
    for damage in damages:
        damage(redis_client)
    client = api.client()

    for path in LISTS:
        answer = client.get(f"/api/v1/{path}")
        assert answer.status_code == 200, (path, answer.text)
        if path != "archive/lost":
            rows = {row["workflow"]: row for row in answer.json()["items"]}
            assert rows[GOOD]["status"] == "open", path
            assert rows[GOOD]["unreadable"] is None
            assert {"orders", "users", ".hidden"}.isdisjoint(rows)
            assert rows[WORKFLOW]["status"] != "unreadable" or WORKFLOW in rows[WORKFLOW]["unreadable"]
    metrics = client.get("/api/v1/metrics").text
    assert f'batchy_workflow_status{{workflow="{GOOD}",status="open"}} 1' in metrics
    assert f'batchy_workflow_status{{workflow="{WORKFLOW}",status="' in metrics
    assert client.get("/api/v1/overview", params={"order_by": "-status"}).status_code == 200
    for part in ABOUT_ONE:
        answer = client.get(f"/api/v1/workflows/{WORKFLOW}{part}")
        assert answer.status_code in (200, 404, 409), (part, answer.status_code, answer.text)
        if answer.status_code == 409:
            assert "expected" in answer.json()["detail"] or "Redis key" in answer.json()["detail"]
    assert client.get(f"/api/v1/overview/{GOOD}").json()["row"]["status"] == "open"
    assert client.get(f"/api/v1/overview/{WORKFLOW}").status_code in (200, 404, 409)

    code, text, _ = cli(redis_url, "-o", "json", "list")
    assert code == 0
    assert {row["workflow"]: row["status"] for row in json.loads(text)}[GOOD] == "open"
    for words in (
        ("list",),
        ("status", WORKFLOW),
        ("history", WORKFLOW),
        ("history", WORKFLOW, "--changes"),
        ("metrics",),
    ):
        code, text, errors = cli(redis_url, *words)
        assert code in (0, 1), words
        assert code == 0 or WORKFLOW in errors, (words, errors)
        assert GOOD in text or words[0] not in ("list", "metrics")
    store = Store(redis_client)
    for change in (
        lambda: store.close(WORKFLOW, CloseRequest(result="success")),
        lambda: store.open(WORKFLOW, OpenRequest(if_open="take_over")),
        lambda: store.prune(WORKFLOW, keep=1, keep_days=1),
        lambda: lease(store.backend, Subscription(workflow=WORKFLOW), "me"),
    ):
        try:
            change()
        except BatchyError as error:
            assert WORKFLOW in str(error)  # noqa: PT017 - it need not be raised


@pytest.fixture
def heard(api: Api) -> Iterator[list[dict[str, Any]]]:
    """Return the events that a subscriber of the server gets."""
    events: list[dict[str, Any]] = []
    services = airflow_services.get_services()
    with services.events.watch(events.append):
        assert until(lambda: services.store.backend.client.pubsub_numsub(EVENTS_CHANNEL)[0][1] > 0)
        yield events


def until(is_so: Any) -> bool:
    end = time.monotonic() + 20
    while not is_so() and time.monotonic() < end:
        time.sleep(0.02)
    return bool(is_so())


def test_junk_among_events_is_dropped_alone(
    api: Api, redis_client: Redis, heard: list[dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    names = airflow_services.get_services().names
    before = names.all()
    for number, junk in enumerate(EVENTS):
        redis_client.publish(EVENTS_CHANNEL, junk)
        redis_client.publish(
            EVENTS_CHANNEL, json.dumps({"workflow": f"wf{number}", "event": "open", "batch_id": number})
        )
    assert until(lambda: heard and heard[-1]["workflow"] == f"wf{len(EVENTS) - 1}")
    assert all(json.dumps(event, ensure_ascii=False).encode() for event in heard)
    good = [event for event in heard if event["workflow"].startswith("wf")]
    assert [event["batch_id"] for event in good] == list(range(len(EVENTS)))
    assert {event["workflow"] for event in heard} - {"good"} == {f"wf{number}" for number in range(len(EVENTS))}
    assert names.all() - before == {"good"} | {f"wf{number}" for number in range(len(EVENTS))}
    assert api.client().get("/api/v1/overview").status_code == 200
    assert sum("was dropped" in record.message for record in caplog.records) <= 1


def test_junk_among_events_ends_no_open_stream(api: Api, redis_client: Redis) -> None:
    from batchy_provider.plugin.routes.events import _stream
    from batchy_provider.plugin.security import Caller

    class Connected:
        async def is_disconnected(self) -> bool:
            return False

    class Ann(Caller):
        def may(self, *asked: Any) -> bool:
            if asked[1] == "unsure":
                raise RuntimeError("the database of rights is away")
            return True

    async def read() -> list[str]:
        stream = _stream(Connected(), Ann(None, Actor("ann")), airflow_services.get_services())
        lines = [await anext(stream)]
        started = threading.Thread(target=publish)
        started.start()
        while "last" not in lines[-1]:
            lines.append(await anext(stream))
        started.join()
        await stream.aclose()
        return lines

    def publish() -> None:
        assert until(lambda: redis_client.pubsub_numsub(EVENTS_CHANNEL)[0][1] > 0)
        for junk in (*EVENTS, b'{"workflow": "unsure"}', b'{"workflow": "last"}'):
            redis_client.publish(EVENTS_CHANNEL, junk)

    import asyncio

    lines = asyncio.run(asyncio.wait_for(read(), 60))
    assert 'data: {"event": "back"}\n\n' in lines


@pytest.mark.parametrize("order_by", ["__class__", "__doc__", "_of", "data", "--workflow", "", "-", "of", "slots"])
@pytest.mark.parametrize("path", ["overview", "workflows"])
def test_an_unknown_column_is_refused(api: Api, path: str, order_by: str) -> None:
    answer = api.client().get(f"/api/v1/{path}", params={"order_by": order_by})
    assert (answer.status_code, "cannot sort by" in answer.text) == (422, True)


@pytest.mark.parametrize(
    "name",
    [
        ".drafts",
        ".archive",
        "...a",
        "-",
        "--help",
        "~",
        "%2e%2e",
        "a%00b",
        "%ff",
        "%ed%a0%80",
        "sales%0a",
        "x" * 201,
        "_",
        ".-.",
    ],
)
def test_odd_names_in_requests_cause_no_server_error(api: Api, redis_client: Redis, name: str) -> None:
    fill(redis_client)
    client = api.client()
    for part in (*ABOUT_ONE, "/faults", "/batches/17", "/jobs/x/bundle", f"/batches/17/jobs/{name}/attempts/1"):
        answer = client.get(f"/api/v1/workflows/{name}{part}")
        assert answer.status_code < 500, (part, answer.status_code, answer.text)
    for path in (f"overview/{name}", f"workflows/{GOOD}/executions?job={name}", f"workflows/{GOOD}/jobs/{name}/bundle"):
        assert client.get(f"/api/v1/{path}").status_code < 500, path


def test_a_file_with_an_invalid_name_hides_no_metrics(api: Api, redis_client: Redis) -> None:
    (api.cfg / "a name-17.yaml").write_text("jobs: 3\n")
    fill(redis_client)
    assert "batchy_redis_up 1" in api.client().get("/api/v1/metrics").text
    assert f'workflow="{GOOD}"' in api.client().get("/api/v1/metrics").text


def test_a_huge_hash_of_another_program_is_not_read(redis_client: Redis, redis_url: str) -> None:
    fill(redis_client)
    redis_client.hset("orders", mapping={str(number): '{"status": "open"}' for number in range(6000)})
    store = Store(open_client(redis_url))
    assert store.workflows() == [WORKFLOW, GOOD]
    redis_client.hset("orders:meta", "config", "{}")
    assert "orders" in store.candidates()
