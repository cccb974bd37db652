# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""How many nights, and which: `./run test tests/reliability --nights 100 --seed 1 --report report.json -s`."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("reliability")
    group.addoption("--nights", type=int, help="nights of chaos (default: 1)")
    group.addoption("--minutes", type=float, help="after so many no further night begins")
    group.addoption("--seed", type=int, help="of what is killed and when (default: 1)")
    group.addoption("--schedulers", type=int, help="schedulers on the one database (default: 1)")
    group.addoption("--report", help="file that the counts are written to after each night, as JSON")
