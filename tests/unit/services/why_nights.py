# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Workflow files and batches for questions about why: each file in a few words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from loaded_nights import ANN

from batchy_provider.services.composition import Services


def write(cfg: Path, name: str, text: str = "", **keys: Any) -> None:
    """Write a workflow file with one job, `load`, that is due each minute unless `keys` say otherwise."""
    given = {"schedule": "* * * * *", "jobs": {"load": {"bash": "true"}}, **keys}
    content = text or yaml.safe_dump({key: value for key, value in given.items() if value is not None})
    (cfg / f"{name}.yaml").write_text(content)


def run(services: Services, name: str, result: str | None = "success") -> int:
    """Open a batch and close it, or (None) leave it open."""
    batch = services.batches.open(name, actor=ANN)
    if result is not None:
        services.batches.close(name, result=result, actor=ANN, batch_id=batch.batch_id)
    return batch.batch_id
