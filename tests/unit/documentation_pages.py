# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The pages of the documentation as text, and the scripts that make some of them, ready to import."""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
# The scripts are not a package: mkdocs loads them from their folder, and so do the tests.
sys.path.insert(0, str(ROOT / "scripts" / "docs_site"))
sys.path.append(str(ROOT / "tests" / "integration"))

import hooks  # noqa: E402
import messages  # noqa: E402
from browser import SCREENSHOTS, chromium  # noqa: E402
from commands import commands_of, commands_page  # noqa: E402
from configuration import configuration_page  # noqa: E402
from modules import modules, modules_page  # noqa: E402
from outside import Outside, anchor  # noqa: E402
from routes import routes_page  # noqa: E402

__all__ = [
    "DOCS",
    "FENCE",
    "PAGES",
    "ROOT",
    "SCREENSHOTS",
    "WRITTEN",
    "Outside",
    "anchor",
    "chromium",
    "commands_of",
    "commands_page",
    "configuration_page",
    "hooks",
    "messages",
    "modules",
    "modules_page",
    "routes_page",
]

PAGES = {path.relative_to(DOCS).as_posix(): path.read_text() for path in sorted(DOCS.rglob("*.md"))}
WRITTEN = {**PAGES, "README.md": (ROOT / "README.md").read_text()}
FENCE = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
