# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Documents to import, as a person would write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

JOB = {"status": "new", "from_date": "2026-01-01T00:00:00.000000"}


def document(*found: Any, **more: Any) -> dict[str, Any]:
    return {"format": "batchy export", "version": 1, "workflows": list(found), **more}


def written(tmp_path: Path, data: Any) -> str:
    path = tmp_path / "document.json"
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    return str(path)
