# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Make the page of all files of the package, each with the purpose that its docstring states.

Usage: python scripts/docs_site/modules.py      prints the page
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PACKAGE = Path(__file__).parents[2] / "batchy_provider"

_HEAD = """\
# All files

Each file of the package with its purpose: the first sentence of its docstring. [Development](../development.md#the-map)
shows how the folders depend on each other.
"""


class Module(NamedTuple):
    """One file.

    :param folder: below the package; ``.`` for the package itself.
    :param name: of the file.
    :param purpose: the first sentence of its docstring; empty if it has none.
    """

    folder: str
    name: str
    purpose: str


def modules() -> list[Module]:
    """Return the files of the package, by folder and name."""
    return sorted(_modules())


def modules_page() -> str:
    """Return the page as Markdown."""
    parts = [_HEAD]
    found = modules()
    for folder in dict.fromkeys(module.folder for module in found):
        inside = [module for module in found if module.folder == folder]
        (purpose,) = (module.purpose for module in inside if module.name == "__init__.py")
        parts.append(f"## {'batchy_provider' if folder == '.' else folder}/\n\n{_text(purpose)}\n")
        rows = [f"| `{module.name}` | {_text(module.purpose)} |" for module in inside if module.name != "__init__.py"]
        if rows:
            parts.append("| file | purpose |\n|---|---|\n" + "\n".join(rows) + "\n")
    return "\n".join(parts)


def _modules() -> Iterator[Module]:
    for path in PACKAGE.rglob("*.py"):
        docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        purpose = " ".join(docstring.split("\n\n")[0].split())
        yield Module(path.parent.relative_to(PACKAGE).as_posix(), path.name, purpose)


def _text(text: str) -> str:
    return text.replace("``", "`").replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    print(modules_page())
