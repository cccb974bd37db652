# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Each benchmark starts: what it imports is there, and it says what it measures. mypy checks what it calls."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "benchmarks"
ASK_ALL = """
import contextlib, io, runpy, sys

for path in sys.argv[1:]:
    sys.argv, out = [path, "--help"], io.StringIO()
    try:
        with contextlib.redirect_stdout(out):
            runpy.run_path(path, run_name="__main__")
    except SystemExit as end:
        if not end.code and out.getvalue().startswith("usage: "):
            continue
    raise RuntimeError(f"{path} --help ends with {out.getvalue()!r}")
"""


def test_each_benchmark_shows_its_help(tmp_path: Path) -> None:
    """All in one process, since Airflow takes seconds to import."""
    asked = [str(path) for path in sorted(FOLDER.glob("*.py")) if "ArgumentParser(" in path.read_text()]
    assert len(asked) > 15
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(FOLDER))), "AIRFLOW_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", ASK_ALL, *asked], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
