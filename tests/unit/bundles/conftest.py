# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""An S3 of this machine: moto's server, which answers what S3 answers."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiobotocore.session import AioSession
from moto.server import ThreadedMotoServer
from upath import UPath

from batchy_provider.bundles import bundle_source as source_module
from batchy_provider.bundles.bundle_cache import BundleCache
from batchy_provider.bundles.run_request import RunRequest
from batchy_provider.bundles.run_result import RunResult
from batchy_provider.bundles.runner import Runner


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(endpoint: str) -> Callable[[str], Any]:
    """What opens a URL; each call has a client of its own, as each worker would."""
    session = AioSession()  # keeps the description of S3's API, which takes longer to read than any call here

    def open_path(url: str) -> Any:
        # Parts of the least size that S3 allows: 5 MiB.
        options = {"key": "x", "secret": "x", "endpoint_url": endpoint, "default_block_size": 5 << 20}
        return UPath(url, skip_instance_cache=True, session=session, **options)

    bucket = open_path("s3://site")
    if not bucket.exists():
        bucket.mkdir()
    return open_path


@pytest.fixture
def make_runner(tmp_path: Path) -> Callable[..., Runner]:
    def build(script: str, **options: Any) -> Runner:
        (tmp_path / "script.sh").write_text(script)
        env = {"PATH": os.environ["PATH"], "WORK": str(tmp_path), "PYTHON": sys.executable}
        asked = {name: options.pop(name) for name in list(options) if name in RunRequest.__dataclass_fields__}
        request = RunRequest(
            **{"command": ["bash", "script.sh"], **asked},
            cwd=tmp_path,
            env=env,
            stdout=tmp_path / "stdout",
            stderr=tmp_path / "stderr",
        )
        return Runner(request, **options)

    build.folder = tmp_path
    return build


@pytest.fixture
def run_script(make_runner: Callable[..., Runner]) -> Callable[..., RunResult]:
    return lambda script, **options: make_runner(script, **options).run()


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files count as settled at once, so that a second look may be answered by their times."""
    monkeypatch.setattr(source_module, "SETTLE_SECONDS", 0.0)


@pytest.fixture
def cache(tmp_path: Path) -> BundleCache:
    return BundleCache(tmp_path / "cache")
