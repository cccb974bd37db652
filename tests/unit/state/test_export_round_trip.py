# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""What is exported and imported is exactly what it was: any JSON, on one server and on a cluster."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_calls import request as open_request
from thoroughness import scaled

from batchy_provider.core.schedules import Schedule
from batchy_provider.core.values import Actor, CloseRequest, Holder, OpenRequest, Window, WorkflowConfig
from batchy_provider.exceptions import WorkflowExistsError
from batchy_provider.state.connections import open_client
from batchy_provider.state.document_check import read_document
from batchy_provider.state.export_form import FORMAT, VERSION
from batchy_provider.state.importing import ImportRequest, export_state, import_state
from batchy_provider.state.keys import Keys
from batchy_provider.state.store import Store

ANNA = Actor("anna", "cli")
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([2**63, -(2**80), 10**400, 0.1, -0.0, 1e300, 1e-300, "", "\u0000", "\ud800", "größe"])
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
SPECIAL = {"batch_id", "status", "from_date", "to_date", "batch_start", "batch_end", "outcome", "initial_date"}
PARAMS = st.dictionaries(
    TEXT.filter(lambda name: name not in SPECIAL | {"reprocess_hours", "trunc_start"}), VALUES, max_size=5
)
JOBS = st.dictionaries(st.sampled_from(["load", "größe", "a.b", " x ", "ü\n"]), PARAMS, min_size=1, max_size=4)


@pytest.fixture(params=["server", "cluster"])
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    client = open_client(request.getfixturevalue("redis_url" if request.param == "server" else "cluster_url"))
    yield Store(client)
    client.close()


def raw(store: Store) -> dict[str, Any]:
    """Return what Redis holds of the workflow, decoded: order of keys and types count, ways to write JSON do not."""
    keys, client, found = Keys("sales", store.backend.cluster), store.backend.client, {}
    for key in (each.decode() for each in client.scan_iter(match="*sales*", count=1000)):
        name = key.removeprefix(keys.live)
        if key in keys.sorted_sets:
            found[name] = client.zrange(key, 0, -1, withscores=True)
        else:
            found[name] = {field.decode(): value for field, value in client.hgetall(key).items()}
    found[":durations"] = {job: json.loads(text) for job, text in found.get(":durations", {}).items()}
    for name in (":told", ":progress"):
        found.pop(name, None)
    meta = found[":meta"]
    changes = [each for each in json.loads(meta.get("changes", "[]")) if not each["what"].startswith("imported")]
    meta["changes"] = json.dumps(changes).encode()
    return found


@settings(max_examples=scaled(25), deadline=None, suppress_health_check=list(HealthCheck))
@given(jobs=JOBS, results=st.lists(st.sampled_from(["success", "failed"]), max_size=3), disabled=st.booleans())
def test_an_import_of_an_export_is_what_was_there(
    store: Store, jobs: dict[str, dict[str, Any]], results: list[Any], disabled: bool
) -> None:
    store.backend.client.flushall()
    schedule = Schedule(crons=("0 2 * * *",), timezone="Asia/Kolkata")
    config = WorkflowConfig(name="sales", jobs=jobs, timezone="Asia/Kolkata", infa={"ö": [1]}, schedule=schedule)
    store.load(config, by="bob", why="grüße\n")
    for number, result in enumerate(results):
        batch = store.open("sales", OpenRequest(holder=Holder(dag_id="sales", run_id=f"r{number}"), config=config))
        store.close("sales", CloseRequest(result=result, batch_id=batch.batch_id))
    window = Window(from_date="2026-01-01", to_date="2026-01-02")
    backfill = OpenRequest(holder=Holder(dag_id="x", run_id="b"), window=window, backfill=True, day="2026-01-01")
    store.close("sales", CloseRequest(result="success", batch_id=store.open("sales", backfill).batch_id))
    if disabled:
        store.disable("sales", next(iter(jobs)), by="bob")
    before = raw(store)
    document = json.loads(
        json.dumps(
            {"format": FORMAT, "version": VERSION, "workflows": [export_state(store.backend, "sales", history=True)]}
        )
    )
    store.backend.client.flushall()
    (workflow,) = read_document(document)
    done = import_state(store.backend, ImportRequest(workflow=workflow, by=ANNA))
    assert (done.jobs, done.ended) == (list(jobs), [])
    assert raw(store) == before
    again = export_state(store.backend, "sales", history=True)
    assert json.dumps([again[key] for key in again if key != "changes"]) == json.dumps(
        [document["workflows"][0][key] for key in again if key != "changes"]
    )


def test_a_state_of_an_earlier_release_brings_its_ledger(store: Store) -> None:
    for run in ("one", "two"):
        batch = store.open("sales", open_request(run, {"load": {}}))
        store.close("sales", CloseRequest(result="success", batch_id=batch.batch_id))
    keys = Keys("sales", store.backend.cluster)
    before = store.backend.client.hgetall(keys.loaded)
    store.backend.client.delete(keys.loaded)
    store.backend.client.hdel(keys.meta, "ledger")
    found = export_state(store.backend, "sales", history=True)
    assert {job: json.loads(text) for job, text in before.items()} == {
        job.encode(): pairs for job, pairs in found["ledger"].items()
    }


def test_a_state_of_the_original_server_can_be_moved(store: Store) -> None:
    keys = Keys("sales", store.backend.cluster)
    job = {"batch_id": 1795384088, "status": "failure", "from_date": "2026-01-01T00:00:00"}
    store.backend.client.hset(keys.live, "load", json.dumps(job))
    store.backend.client.hset(keys.batch(1795384088), "load", json.dumps(job))
    found = export_state(store.backend, "sales", history=False)
    store.backend.client.flushall()
    (workflow,) = read_document({"format": FORMAT, "version": VERSION, "workflows": [found]})
    import_state(store.backend, ImportRequest(workflow=workflow, by=ANNA))
    assert json.loads(store.backend.client.hget(keys.live, "load")) == job
    assert [batch.batch_id for batch in store.history("sales")] == [1795384088]


def test_another_programs_key_is_never_replaced(store: Store) -> None:
    batch = store.open("sales", open_request("one", {"load": {}}))
    store.close("sales", CloseRequest(result="success", batch_id=batch.batch_id))
    found = export_state(store.backend, "sales", history=False)
    store.backend.client.flushall()
    store.backend.client.hset(Keys("sales", store.backend.cluster).live, "page", "<html>")
    (workflow,) = read_document({"format": FORMAT, "version": VERSION, "workflows": [found]})
    with pytest.raises(WorkflowExistsError, match="another program"):
        import_state(store.backend, ImportRequest(workflow=workflow, by=ANNA, replaces=True))
    assert store.backend.client.hgetall(Keys("sales", store.backend.cluster).live) == {b"page": b"<html>"}
