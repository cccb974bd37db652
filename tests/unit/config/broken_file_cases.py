# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Reads broken_files.txt, which holds broken workflow files and the messages that they cause."""

from __future__ import annotations

from functools import cache
from pathlib import Path


@cache
def read_cases() -> dict[str, tuple[str, list[str]]]:
    """Return name of a case → (text of the file, expected messages)."""
    cases = {}
    for section in (Path(__file__).parent / "broken_files.txt").read_text().split("\n## ")[1:]:
        name, _, rest = section.partition("\n")
        text, _, messages = rest.partition("=> ")
        cases[name] = text, messages.strip().split("\n=> ")
    return cases
