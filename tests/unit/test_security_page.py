# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""What docs/security.md promises, it names a test for: each of them exists."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text()


def test_each_test_that_the_page_names_exists() -> None:
    files = {path.name: path.read_text() for path in (ROOT / "tests").rglob("test_*.py")}
    named = re.findall(r"`(?:tests/)?(?:[a-z_]+/)*(test_[a-z_]+\.py)?(?:::(test_[a-z_0-9]+))?`", PAGE)
    assert len(named) > 30
    last = ""
    for file, test in filter(any, named):
        last = file or last
        assert last in files, last
        assert not test or f"def {test}(" in files[last], f"{last}::{test}"
