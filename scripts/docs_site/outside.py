# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Show linked files of the checkout that are outside of ``docs/``.

On a code host, ``[sales.yaml](../cfg/sales.yaml)`` shows the file. The site does not contain these files, so it gets
one page with all linked files, and the links lead to this page.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

_LINK = re.compile(r"(\]\()([^)\s#]+)(#[^)\s]*)?(\))")
_FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
_LARGEST = 64 * 1024
_LANGUAGES = {".yaml": "yaml", ".yml": "yaml", ".json": "json", ".py": "python", ".sh": "bash", ".toml": "toml"}
_PAGES = {"CHANGELOG.md": "reference/changelog.md", "README.md": "index.md"}


class Outside:
    """Linked files outside of the pages, and where the site shows them.

    :param root: folder of the checkout.
    :param docs: folder of the pages in the checkout.
    :param page: path below `docs` of the page that shows the files.
    """

    def __init__(self, root: Path, docs: Path, page: str) -> None:
        self._root = root.resolve()
        self._docs = docs.resolve()
        self._page = page

    def rewrite_links(self, markdown: str, src: str) -> str:
        """Return a page's text, with its links to outside files changed to pages of the site.

        :param src: the page's path below ``docs/``.
        """

        def lead(found: re.Match[str]) -> str:
            target = self._outside(found[2], src)
            if target is None:
                return found[0]
            here = Path(src).parent
            if page := _PAGES.get(target):
                return f"{found[1]}{os.path.relpath(page, here)}{found[3] or ''}{found[4]}"
            return f"{found[1]}{os.path.relpath(self._page, here)}#{anchor(target)}{found[4]}"

        return _LINK.sub(lead, markdown)

    def linked(self) -> list[str]:
        """Return the linked files as sorted paths below the checkout."""
        found = set()
        for path in self._docs.rglob("*.md"):
            src = path.relative_to(self._docs).as_posix()
            text = _FENCE.sub("", path.read_text(encoding="utf-8"))
            found |= {target for match in _LINK.finditer(text) if (target := self._outside(match[2], src)) is not None}
        return sorted(found - set(_PAGES))

    def page(self) -> str:
        """Return the page that shows the files."""
        parts = ["# Linked files\n\nLook at the project files here that the other pages link to.\n"]
        shown: set[Path] = set()
        for target in self.linked():
            path = self._root / target
            parts.append(f"## `{target}` {{#{anchor(target)}}}\n")
            if path.is_file():
                parts.append(_shown(path))
                shown.add(path)
                continue
            for file in sorted(path.rglob("*")):
                if file.is_file() and not file.name.startswith(".") and file not in shown:
                    name = file.relative_to(self._root).as_posix()
                    if name in self.linked():  # it has its own heading
                        continue
                    parts.append(f"**{name}**\n\n{_shown(file)}")
                    shown.add(file)
        return "\n".join(parts)

    def _outside(self, target: str, src: str) -> str | None:
        """Return the path below the checkout that a link leads to, or None if it is inside of ``docs/``."""
        if ":" in target or target.startswith("/"):
            return None
        path = Path(os.path.normpath(self._docs / Path(src).parent / target))
        if path.is_relative_to(self._docs) or not path.is_relative_to(self._root) or not path.exists():
            return None
        return path.relative_to(self._root).as_posix()


def anchor(target: str) -> str:
    """Return the anchor of a file on the page that shows it."""
    return re.sub(r"\W+", "-", target).strip("-").lower()


def _shown(path: Path) -> str:
    size = path.stat().st_size
    try:
        text = path.read_text(encoding="utf-8") if size <= _LARGEST else None
    except UnicodeDecodeError:
        text = None
    if text is None:
        return f"{size:,} bytes.\n"
    fence = "`" * max(3, *(len(run) + 1 for run in re.findall(r"`{3,}", text)), 3)
    return f"{fence}{_LANGUAGES.get(path.suffix, 'text')}\n{text.rstrip()}\n{fence}\n"
