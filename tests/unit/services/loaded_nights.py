# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""A workflow ``sales`` whose nights are loaded by hand, with chosen windows."""

from __future__ import annotations

from batchy_provider.core.values import Actor, WorkflowConfig
from batchy_provider.services.composition import Services

ANN = Actor("ann", "web", "127.0.0.1")
SALES = WorkflowConfig(name="sales", jobs={"extract": {}, "load": {}})


def load(services: Services, start: int, end: int, *, live: bool = True, config: WorkflowConfig = SALES) -> None:
    """Load some days of November 2026: from the start of one to the start of another."""
    batch = services.batches.open(
        config.name,
        actor=ANN,
        from_date=f"2026-11-{start:02}",
        to_date=f"2026-11-{end:02}",
        move_watermark=live,
        config=config,
    )
    services.batches.close(config.name, result="success", actor=ANN, batch_id=batch.batch_id)


def with_gap(services: Services, config: WorkflowConfig = SALES) -> None:
    """Load 1 to 3 November and 6 November: days 3, 4 and 5 are a gap."""
    load(services, 1, 3, config=config)
    load(services, 6, 7, config=config)
