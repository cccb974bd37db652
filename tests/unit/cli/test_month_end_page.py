# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""docs/month-end.md as a reader does it: its commands, in their order, print what the page shows."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[3] / "docs" / "month-end.md").read_text()
BLOCKS = re.compile(r"^```(?P<kind>sh|text)\n(?P<text>.*?)^```", re.M | re.S)


@pytest.mark.slow
def test_the_commands_print_what_the_page_shows(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BATCHY_")}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    printed, shown = "", 0
    for block in BLOCKS.finditer(PAGE):
        if block["kind"] == "text":
            assert printed.split() == block["text"].split(), (
                f"the page shows:\n{block['text']}\nand here is:\n{printed}"
            )
            shown += 1
            continue
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block["text"]],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, f"{block['text']}\n{done.stdout}\n{done.stderr}"
        printed = done.stdout
    assert shown >= 4
