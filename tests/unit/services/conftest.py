# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Services on an empty Valkey and a folder of the test's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from warned_nights import Night

from batchy_provider.services.answers import Audit
from batchy_provider.services.composition import Services
from batchy_provider.state.connections import open_client
from batchy_provider.state.store import Store


@pytest.fixture
def audits() -> list[Audit]:
    """What the services told of changes."""
    return []


@pytest.fixture
def cfg(tmp_path: Path) -> Path:
    """An empty folder of workflow files."""
    folder = tmp_path / "cfg"
    folder.mkdir()
    return folder


@pytest.fixture
def services(redis_url: str, cfg: Path, audits: list[Audit]) -> Iterator[Services]:
    """Services on both."""
    services = Services(store=lambda: Store(open_client(redis_url)), cfg=cfg, audit=audits.append)
    yield services
    services.close()


@pytest.fixture
def night(redis_url: str, cfg: Path) -> Iterator[Night]:
    """Six nights have passed; in the seventh, both are due."""
    made = Night(redis_url, cfg)
    made.past("crm", "sales")
    yield made
    made.services.close()


@pytest.fixture
def late(night: Night) -> Night:
    """The upstream still runs at half past five, so the deadline at six will be missed."""
    night.open("crm")
    night.tonight(5, 30)
    return night
