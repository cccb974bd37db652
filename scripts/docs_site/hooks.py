# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Hooks for MkDocs: add the pages that are made from code, and lead links out of ``docs/`` to pages of the site."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

# MkDocs loads this file by its path, and the tests import it. Both must find the files beside it.
sys.path.insert(0, str(Path(__file__).parent))

from commands import commands_page
from configuration import configuration_page
from modules import modules_page
from outside import Outside
from routes import routes_page

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
FILES_PAGE = "reference/files.md"
CHANGELOG_PAGE = "reference/changelog.md"
MODULES_PAGE = "reference/modules.md"
GENERATED = (
    "reference/commands.md",
    "reference/routes.md",
    "reference/configuration.md",
    FILES_PAGE,
    CHANGELOG_PAGE,
    MODULES_PAGE,
)

_ROW = re.compile(r"^\|.*\|$", re.MULTILINE)
_CODE = re.compile(r"`[^`\n]+`")
_outside = Outside(ROOT, ROOT / "docs", FILES_PAGE)


def generated_pages() -> dict[str, str]:
    """Return the pages made from code: path below ``docs/`` → Markdown."""
    return {
        "reference/commands.md": commands_page(),
        "reference/routes.md": routes_page(_openapi()),
        "reference/configuration.md": configuration_page(),
        FILES_PAGE: _outside.page(),
        MODULES_PAGE: modules_page(),
        CHANGELOG_PAGE: (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"),
    }


def without_missing(nav: list[Any], there: set[str]) -> list[Any]:
    """Return the navigation without pages that do not exist, and without sections that are then empty."""
    remaining: list[Any] = []
    for entry in nav:
        if isinstance(entry, str):
            remaining += [entry] if entry in there else []
            continue
        ((title, inner),) = entry.items()
        if isinstance(inner, str):
            remaining += [entry] if inner in there else []
        elif found := without_missing(inner, there):
            remaining.append({title: found})
    return remaining


def plain_pipes(markdown: str) -> str:
    r"""Remove the backslash before a pipe in code in tables: ``\|``.

    A code host needs and removes it. MkDocs does not need it and would show it.
    """
    return _ROW.sub(lambda row: _CODE.sub(lambda code: code[0].replace("\\|", "|"), row[0]), markdown)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Remove pages that do not exist from the navigation."""
    docs = Path(config.docs_dir)
    there = {path.relative_to(docs).as_posix() for path in docs.rglob("*.md")} | set(GENERATED)
    config.nav = without_missing(config.nav or [], there)
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made from code."""
    from mkdocs.structure.files import File

    for path, text in generated_pages().items():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links out of ``docs/`` to the pages of the site that show their targets."""
    return plain_pipes(_outside.rewrite_links(markdown, page.file.src_uri))


def _openapi() -> dict[str, Any]:
    from batchy_provider.plugin.app import create_app

    return create_app().openapi()
