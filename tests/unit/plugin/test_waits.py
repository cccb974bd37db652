# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Waiting over REST, and the command that needs only an address and a token for it."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from api_server import Api, token

from batchy_provider.cli.main import main
from batchy_provider.core.schedules import Schedule
from batchy_provider.core.values import CloseRequest, OpenRequest, WorkflowConfig
from batchy_provider.plugin import airflow_services

CONFIG = WorkflowConfig(name="crm", jobs={"extract": {}, "load": {}})
WAIT = "/api/v1/workflows/crm/wait"


def night(result: str = "success", config: WorkflowConfig = CONFIG) -> int:
    """Open and close a batch as another program does."""
    store = airflow_services.get_services().store
    store.open("crm", OpenRequest(config=config))
    return store.close("crm", CloseRequest(result=result)).batch_id


def test_without_a_timeout_the_answer_comes_at_once(api: Api) -> None:
    unknown = api.client().get(WAIT).json()
    assert (unknown["state"], unknown["code"]) == ("waiting", "unknown_workflow")
    assert unknown["day"]
    batch = night("failed")
    assert api.client().get(WAIT).json()["state"] == "waiting"
    assert api.client().get(WAIT, params={"on_failed": "fail"}).json()["state"] == "failed"
    batch = night()
    done = api.client().get(WAIT).json()
    assert (done["state"], done["code"], done["batch_id"]) == ("done", "succeeded", batch)
    tomorrow = api.client().get(WAIT, params={"day": "2999-01-01"}).json()
    assert (tomorrow["state"], tomorrow["day"]) == ("waiting", "2999-01-01")
    assert api.client().get(WAIT, params={"any": True}).json()["state"] == "done"
    assert api.client().get(WAIT, params={"within": 3600, "job": ["load"]}).json()["state"] == "done"


def test_due_answers_with_the_interval_and_keeps_its_due_time(api: Api) -> None:
    scheduled = WorkflowConfig(name="crm", jobs={"extract": {}, "load": {}}, schedule=Schedule(crons=("0 0 1 1 *",)))
    airflow_services.get_services().store.load(scheduled, by="test")
    waiting = api.client().get(WAIT, params={"due": "now", "job": ["load"]}).json()
    assert (waiting["state"], waiting["code"]) == ("waiting", "due_not_loaded")
    (found,) = waiting["intervals"]
    assert (found["job"], found["loaded"], len(found["missing"])) == ("load", 0, 1)
    again = api.client().get(WAIT, params={"due": waiting["due"], "job": ["load"]}).json()
    assert (again["due"], again["intervals"]) == (waiting["due"], waiting["intervals"])
    old = api.client().get(WAIT, params={"due": "2001-06-01"}).json()
    assert (old["due"], old["intervals"][0]["to_date"]) == ("2001-06-01T00:00:00.000000", "2001-01-01T00:00:00.000000")
    batch = night(config=scheduled)
    done = api.client().get(WAIT, params={"due": waiting["due"]}).json()
    assert (done["code"], done["batch_id"], done["intervals"][0]["missing"]) == ("due_loaded", batch, [])
    assert api.client().get(WAIT).json()["intervals"] == []
    assert api.client().get(WAIT, params={"due": "soon"}).status_code == 422


def test_the_answer_comes_when_the_batch_is_closed(api: Api) -> None:
    api.client().get(WAIT)
    threading.Timer(1.5, night).start()
    start = time.monotonic()
    answer = api.client().get(WAIT, params={"timeout": 30}).json()
    assert answer["state"] == "done"
    assert time.monotonic() - start < 25, "not the timeout, nor a recheck, ended it"


def test_an_invalid_wait_is_an_error(api: Api) -> None:
    for params in ({"day": "yesterdayish"}, {"timezone": "Mars/Phobos"}, {"within": -1}, {"timeout": 1e9}):
        assert api.client().get(WAIT, params=params).status_code == 422


@pytest.fixture
def address(api: Api) -> Iterator[str]:
    """Run the server on a real socket."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(api.app, port=port, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(10)


@pytest.fixture
def token_file(api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("BATCHY_REDIS_URL", raising=False)
    path = tmp_path / "token"
    path.write_text(f"{token('viewer')}\n")
    return path


def test_the_command_needs_only_an_address_and_a_token(
    address: str, token_file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["wait", "crm", "--api", address]
    assert main([*command, "--token-file", str(token_file), "--timeout", "1s"]) == 124
    threading.Timer(1.0, night).start()
    assert main([*command, "--token-file", str(token_file), "--timeout", "60s"]) == 0
    night("failed")
    monkeypatch.setenv("BATCHY_TOKEN", token_file.read_text().strip())
    assert main([*command, "--within", "1h", "--on-failed", "fail"]) in (0, 1)
    capsys.readouterr()
    monkeypatch.setenv("BATCHY_TOKEN", "nonsense")
    assert main(command) == 2
    assert "answered 40" in capsys.readouterr().err
    monkeypatch.delenv("BATCHY_TOKEN")
    assert main(command) == 2
    assert "--token-file" in capsys.readouterr().err


def printed(capsys: pytest.CaptureFixture[str]) -> Any:
    """Return the JSON that a command printed, among the lines that the server logs."""
    out = capsys.readouterr().out
    return json.JSONDecoder().raw_decode(out[out.index("{\n") :])[0]


def test_due_over_rest_is_due_on_redis(address: str, token_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scheduled = WorkflowConfig(name="crm", jobs={"extract": {}, "load": {}}, schedule=Schedule(crons=("0 0 1 1 *",)))
    airflow_services.get_services().store.load(scheduled, by="test")
    command = ["-o", "json", "wait", "crm", "--due", "--api", address, "--token-file", str(token_file)]
    assert main([*command, "--timeout", "1s"]) == 124
    late = printed(capsys)
    assert (late["code"], [each["job"] for each in late["intervals"]]) == ("due_not_loaded", ["extract", "load"])
    threading.Timer(1.0, night, kwargs={"config": scheduled}).start()
    assert main([*command, "--timeout", "60s"]) == 0
    found = printed(capsys)
    assert (found["code"], found["intervals"][0]["missing"]) == ("due_loaded", [])


def test_an_unreachable_server_does_not_end_the_wait(
    address: str, token_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nowhere = ["wait", "crm", "--api", "http://127.0.0.1:1", "--token-file", str(token_file), "--timeout", "1s"]
    assert main(nowhere) == 124
    assert "the wait continues" in capsys.readouterr().err
