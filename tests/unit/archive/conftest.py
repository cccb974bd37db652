# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""A store with an archive in a folder, and one whose archive a test can make fail."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis
from archived import FailingFiles, Site


@pytest.fixture
def site(redis_client: redis.Redis, tmp_path: Path) -> Site:
    return Site(redis_client, tmp_path / "results")


@pytest.fixture
def failing(redis_client: redis.Redis, tmp_path: Path) -> Site:
    return Site(redis_client, tmp_path, files=FailingFiles(str(tmp_path / "results")))
