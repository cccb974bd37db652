# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""An S3 of this machine: moto's server, which answers what S3 answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from aiobotocore.session import AioSession
from moto.server import ThreadedMotoServer
from upath import UPath


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
