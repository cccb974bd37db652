# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Waiting over REST, and the command that needs only an address and a token for it."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn
from api_server import Api, token

from batchy_provider.cli.main import main
from batchy_provider.core.values import CloseRequest, OpenRequest, WorkflowConfig
from batchy_provider.plugin import airflow_services

CONFIG = WorkflowConfig(name="crm", jobs={"extract": {}, "load": {}})
WAIT = "/api/v1/workflows/crm/wait"


def night(result: str = "success") -> int:
    """Open and close a batch as another program does."""
    store = airflow_services.get_services().store
    store.open("crm", OpenRequest(config=CONFIG))
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


def test_an_unreachable_server_does_not_end_the_wait(
    address: str, token_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nowhere = ["wait", "crm", "--api", "http://127.0.0.1:1", "--token-file", str(token_file), "--timeout", "1s"]
    assert main(nowhere) == 124
    assert "the wait continues" in capsys.readouterr().err
