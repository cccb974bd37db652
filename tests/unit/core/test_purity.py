# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The rules read no clock: the time is an argument. `import-linter` forbids modules; this looks at calls."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import batchy_provider.core

CLOCKS = {"now", "utcnow", "today"}
FILES = sorted(Path(batchy_provider.core.__path__[0]).glob("*.py"))


def clock_calls(source: str) -> list[int]:
    """Return the lines that call a clock of `datetime` or `pendulum`."""
    calls = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    return [call.lineno for call in calls if isinstance(call.func, ast.Attribute) and call.func.attr in CLOCKS]


def test_a_call_of_a_clock_is_found() -> None:
    assert clock_calls("a = 1\nb = datetime.now(timezone.utc)\nc = state.now\nd = date.today()") == [2, 4]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_rule_reads_a_clock(path: Path) -> None:
    assert clock_calls(path.read_text()) == []
