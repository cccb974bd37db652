# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""What a viewer sees: the test plants markers everywhere and searches every GET of the OpenAPI document."""

from __future__ import annotations

import json
import re
from pathlib import Path

import httpx
import pytest
from api_server import Api
from hypothesis import given
from hypothesis import strategies as st

from batchy_provider.core.values import Actor, Holder, OpenRequest, WorkflowConfig
from batchy_provider.plugin import airflow_services
from batchy_provider.plugin.secret_masking import mask_file
from batchy_provider.plugin.server_addresses import hide_addresses

SECRET = "hunter2-marker"
HIDDEN = "sales_of_others"
FILE = f"""\
description: Sales
schedule: "0 2 * * *"
wait_for: [{HIDDEN}]
x-note: {{api_key: {SECRET}}}
jobs:
  extract:
    bash: "true"
    params: {{db_password: {SECRET}, "token": "{SECRET}", url: "postgresql://u:{SECRET}@db/x",
      n: {{secret: [{SECRET}]}}}}
  load:
    bash: "true"
    env:
      DB_PASSWORD: |
        {SECRET}
"""
FAULTY = (
    f"wait_for: [sales_of_other]\njobs:\n  a: {{bash: x, env: {{API_KEY: [{SECRET}]}}}}\n  b: {{bundle: nowhere.zip}}\n"
)


@pytest.fixture
def rights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make Airflow's auth manager hide the DAG of another team from everyone."""
    from airflow.api_fastapi.app import get_auth_manager

    kind = type(get_auth_manager())
    real = kind.is_authorized_dag

    def decide(self: object, **asked: object) -> bool:
        return getattr(asked.get("details"), "id", None) != HIDDEN and bool(real(self, **asked))

    monkeypatch.setattr(kind, "is_authorized_dag", decide)


@pytest.fixture
def planted(api: Api, tmp_path: Path, rights: None) -> list[str]:
    """Put markers into state, history, files, changes and outputs; return those that a viewer must not see."""
    from batchy_provider.bundles.execution_id import ExecutionId
    from batchy_provider.bundles.result_store import ResultStore

    (api.cfg / "sales.yaml").write_text(FILE)
    (api.cfg / f"{HIDDEN}.yaml").write_text("wait_for: [b_of_sales]\njobs: {a: {bash: 'true'}}\n")
    (api.cfg / "b_of_sales.yaml").write_text("jobs: {a: {bash: 'true'}}\n")
    (api.cfg / "faulty.yaml").write_text(FAULTY)
    store = airflow_services.get_services().store
    config = WorkflowConfig(name="sales", jobs={"extract": {"db_password": SECRET, "n": {"token": SECRET}}, "load": {}})
    store.load(config, by=Actor("ann", "cli", None))
    store.open("sales", OpenRequest(holder=Holder(dag_id=HIDDEN, run_id="manual__1"), config=config))
    results = ResultStore(str(tmp_path / "results"))
    with results.draft(ExecutionId(workflow="sales", batch_id="1", job="load", attempt="1"), tmp_path) as draft:
        (draft.folder / "stdout").write_text("fine")
        (draft.folder / "stderr").write_bytes(b"")
        record = {"state": "success", "exit_code": 0, "started": "a", "finished": "b"}
        draft.commit({**record, "bundle": {"name": str(api.cfg / "bundles" / "x.zip"), "sha256": "0"}})
    info = store.backend.client.connection_pool.connection_kwargs
    return [SECRET, HIDDEN, str(tmp_path), f":{info['port']}"]


def gets(client: httpx.Client) -> list[str]:
    """Yield every GET of the document, for valid, invalid and unknown workflows."""
    batch = client.get("/api/v1/workflows/sales/batches").json()["items"][0]["batch_id"]
    found = []
    for path, methods in client.get("/api/v1/openapi.json").json()["paths"].items():
        if "get" not in methods or path.endswith("/events"):
            continue
        for workflow in ("sales", "faulty", "b_of_sales", "sales_of_other"):
            filled = path.replace("{workflow}", workflow).replace("{job}", "load").replace("{attempt}", "1")
            for number in {str(batch), "1"} if "{batch_id}" in path else {""}:
                names = ("stdout", "files/nothing") if "{name}" in path else ("",)
                found += [filled.replace("{batch_id}", number).replace("{name}", name) for name in names]
    return sorted({*found, "/get_status/sales"})


@pytest.mark.slow
def test_a_viewer_finds_no_marker(api: Api, planted: list[str]) -> None:
    client = api.client("viewer")
    paths = gets(client)
    assert len(paths) > 40
    told = []
    for path in paths:
        answer = client.get(path, follow_redirects=False)
        assert answer.status_code < 500, path
        told += [(path, marker, answer.text) for marker in planted if marker in answer.text]
        assert answer.headers["x-content-type-options"] == "nosniff", path
        if "json" in answer.headers.get("content-type", ""):
            # An answer with a tag is asked for again each time, with the caller's own rights, and never shared.
            expected = "private, no-cache" if "etag" in answer.headers else "no-store"
            assert answer.headers["cache-control"] == expected, path
    assert not told


def test_hidden_parts_are_marked_as_hidden(api: Api, planted: list[str]) -> None:
    for role in ("viewer", "admin"):
        detail = api.client(role).get("/api/v1/workflows/sales").json()
        assert detail["fields"]["extract"]["db_password"] == "***"
        assert (detail["fields"]["extract"]["n"], detail["summary"]["waits_for"]) == ({"token": "***"}, [])
    assert api.client("viewer").get("/api/v1/workflows/b_of_sales").json()["summary"]["waited_for_by"] == []
    assert "db_password: ***" in api.client("viewer").get("/api/v1/workflows/sales").json()["source"]
    assert api.client("admin").get("/api/v1/workflows/sales").json()["source"] == FILE
    assert api.client("admin").get("/get_status/sales").json()["extract"]["db_password"] == SECRET
    assert api.client("admin").get("/api/v1/overview").json()["cfg_folder"] == str(api.cfg)


def test_an_unreachable_redis_has_no_address_for_a_viewer(
    api: Api, planted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_REDIS_DEFAULT", "redis://127.0.0.1:1/0")
    airflow_services.reset_services()
    for role, disclosure in (("viewer", False), ("admin", True)):
        answer = api.client(role).get("/api/v1/health")
        assert (answer.status_code, "127.0.0.1:1" in answer.text) == (503, disclosure)


@given(st.sampled_from(["password", "db_password", "API-KEY", "my secret", "token"]), st.data())
def test_the_text_of_a_file_has_no_value_of_a_secret_name(name: str, data: st.DataObject) -> None:
    import yaml

    leaf = st.sampled_from([SECRET, f"{SECRET}, and: more", f"{SECRET}\n  second {SECRET}\n", f"'{SECRET}' # x"])
    value = data.draw(
        st.recursive(leaf, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.just("a"), inner))
    )
    document = {"jobs": {"a": {"bash": "true", "params": {"before": 1, name: value, "after": [{name: value}]}}}}
    for style in (False, True, None):
        text = yaml.safe_dump(document, default_flow_style=style, allow_unicode=True)
        assert SECRET not in mask_file(text), text
    as_json = json.dumps(document, indent=data.draw(st.sampled_from([None, 2])))
    assert SECRET not in mask_file(as_json, is_json=True), as_json


@pytest.mark.parametrize(
    "text",
    [
        "cannot read /srv/airflow/airflow.cfg: [Errno 13] '/srv/airflow/x'",
        "Redis at redis.internal:6379 cannot be used: Error 111 connecting to redis.internal:6379.",
        "Results at file:///srv/airflow/results/x cannot be read",
        "Redis at rediss://u:p@redis.internal:6379/0 refused the login",
    ],
)
def test_addresses_are_removed(text: str) -> None:
    assert not re.search("srv|internal|6379", hide_addresses(text))
