# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Parts are killed at random moments, night after night, and every row of every window is loaded once."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from chaos_nights import ChaosNights
from chaos_report import Report, save, table

pytestmark = pytest.mark.slow


def test_every_window_is_loaded_once_whatever_is_killed(pytestconfig: pytest.Config, tmp_path: Path) -> None:
    nights = pytestconfig.getoption("--nights", None) or 1
    seed = pytestconfig.getoption("--seed", None) or 1
    schedulers = pytestconfig.getoption("--schedulers", None) or 1
    minutes = pytestconfig.getoption("--minutes", None) or math.inf
    file = pytestconfig.getoption("--report", None)

    def note(report: Report) -> None:
        if file:
            save(report, Path(file))

    with ChaosNights(tmp_path, seed=seed, schedulers=schedulers).running() as chaos:
        report = chaos.run(nights, note, minutes=minutes)
    print(table(report))
    assert report.faults() == []
    assert report.windows >= 2 * 10, "each job of each workflow in at least the two quiet nights"
    assert report.slices, "long windows come in pieces"
    assert report.kills
