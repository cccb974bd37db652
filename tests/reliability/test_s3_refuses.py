# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""An S3 that refuses: tried again where that helps, else a clear error, nothing half there, the same window again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiobotocore.session import AioSession
from moto.server import ThreadedMotoServer
from refusing_proxy import RefusingProxy
from s3fs import S3FileSystem
from upath import UPath

from batchy_provider.bundles.bundle_cache import BundleCache
from batchy_provider.bundles.errors import BundleError
from batchy_provider.bundles.execution import Execution
from batchy_provider.bundles.execution_id import ExecutionId
from batchy_provider.bundles.execution_outcome import ExecutionOutcome
from batchy_provider.bundles.execution_request import ExecutionRequest
from batchy_provider.bundles.result_store import ResultStore
from batchy_provider.bundles.script_context import ScriptContext
from batchy_provider.core.values import CloseRequest, Holder, OpenRequest, WorkflowConfig
from batchy_provider.state.store import Store

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def proxy() -> Iterator[RefusingProxy]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    proxy = RefusingProxy(f"http://{host}:{port}")
    yield proxy
    proxy.stop()
    server.stop()


@pytest.fixture
def s3(proxy: RefusingProxy, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    proxy.pass_all()
    # Its own tries come on top of those of the library below it, with growing pauses.
    monkeypatch.setattr(S3FileSystem, "retries", 1)
    session = AioSession()  # keeps the description of S3's API, which takes longer to read than any call here

    def open_path(url: str) -> Any:
        # Of an Airflow connection's extra: {"config_kwargs": {…}}.
        patience = {"read_timeout": 0.5, "retries": {"max_attempts": 2, "mode": "standard"}}
        options = {"key": "x", "secret": "x", "endpoint_url": proxy.url, "config_kwargs": patience}
        return UPath(url, skip_instance_cache=True, session=session, **options)

    # moto has one memory for all its servers in a process: the bucket of other tests must stay as it is.
    bucket = open_path("s3://refused")
    if not bucket.exists():
        bucket.mkdir()
    return open_path


Run = Callable[..., ExecutionOutcome]


@pytest.fixture
def run(tmp_path: Path, s3: Callable[[str], Any]) -> Run:
    def execute(*, attempt: str = "1", **what: Any) -> ExecutionOutcome:
        return Execution(
            ExecutionRequest(
                identity=ExecutionId(workflow=tmp_path.name, batch_id="1", job="load", attempt=attempt),
                script_context=ScriptContext(job="load"),
                **what,
            ),
            cache=BundleCache(tmp_path / "cache"),
            results=ResultStore("s3://refused/results", s3),
            work=tmp_path / "work",
        ).run()

    return execute


def test_a_store_that_is_busy_for_a_moment_costs_nothing(run: Run, proxy: RefusingProxy) -> None:
    proxy.refuse(503, times=1, method="PUT")
    outcome = run(command="echo loaded")
    assert outcome.state == "success"
    assert len(proxy.refused) == 1
    with outcome.stored.open("stdout") as file:
        assert file.read() == b"loaded\n"


@pytest.mark.parametrize("answer", [403, 503, "hang"])
def test_results_that_the_store_refuses_fail_the_job_by_a_clear_error_and_are_no_execution(
    run: Run, proxy: RefusingProxy, s3: Callable[[str], Any], tmp_path: Path, answer: int | str
) -> None:
    proxy.refuse(answer, method="PUT")
    with pytest.raises(BundleError, match=r"result store s3://refused/results .*run the job again") as raised:
        run(command="echo loaded")
    assert {403: "AccessDenied", 503: "SlowDown", "hang": "imeout"}[answer] in str(raised.value)
    proxy.pass_all()
    assert ResultStore("s3://refused/results", s3).find(tmp_path.name) == []
    assert run(command="echo loaded", attempt="2").state == "success"
    assert list((tmp_path / "work").iterdir()) == []


@pytest.mark.parametrize("answer", [403, 503, "hang"])
def test_a_bundle_that_the_store_refuses_is_named_and_none_is_cached(
    run: Run, proxy: RefusingProxy, s3: Callable[[str], Any], tmp_path: Path, answer: int | str
) -> None:
    url = f"s3://refused/{tmp_path.name}/bundle"
    (s3(url) / "script.sh").write_text("echo from a bundle")
    proxy.refuse(answer)
    with pytest.raises(BundleError, match=rf"Bundle {url} cannot be read") as raised:
        run(bundle=s3(url))
    assert {403: "AccessDenied", 503: "SlowDown", "hang": "imeout"}[answer] in str(raised.value)
    proxy.pass_all()
    assert run(bundle=s3(url)).state == "success"


def test_the_window_of_a_night_on_which_the_store_refused_is_taken_again(
    run: Run, proxy: RefusingProxy, redis_client: Any
) -> None:
    store = Store(redis_client)
    windows = []
    for night, refuses in (("one", True), ("two", False)):
        batch = store.open(
            "wf",
            OpenRequest(holder=Holder(dag_id="wf", run_id=night), config=WorkflowConfig(name="wf", jobs={"load": {}})),
        )
        windows.append(batch.from_date)
        if refuses:
            proxy.refuse(403, method="PUT")
            with pytest.raises(BundleError):
                run(command="echo loaded")
        else:
            proxy.pass_all()
            assert run(command="echo loaded", attempt=night).state == "success"
        store.close("wf", CloseRequest(result="failed" if refuses else "success", batch_id=batch.batch_id))
    assert windows[0] == windows[1]
