# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Rules for the names of files and folders in a bundle, the same for a zip and for a folder."""

from __future__ import annotations

import re
import shlex
import unicodedata

from batchy_provider.bundles.errors import BundleRefusedError
from batchy_provider.bundles.limits import UnpackLimits
from batchy_provider.bundles.script import SCRIPT

FROM_PIPE = "it is what zip calls data that it reads from a pipe (`… | zip b.zip -`): zip a file named script.sh."
_DRIVE = re.compile(r"[A-Za-z]:")
_COMPONENT_BYTES = 255


class Tree:
    """The names of a bundle so far. Checks each new one against them.

    :param bundle: name of the bundle in errors.
    :param limits: how many and how long names may be.
    """

    def __init__(self, bundle: str, limits: UnpackLimits) -> None:
        self.bundle = bundle
        self.files: set[str] = set()
        self.folders: set[str] = set()
        self._limits = limits
        self._explicit: set[str] = set()
        self._spelling: dict[str, str] = {}
        self._entries = 0

    def add(self, name: str, *, folder: bool) -> None:
        """Add one file or folder.

        :param name: with ``/`` between folders and without one at its end.
        :raises BundleRefusedError: the name breaks a rule or collides with an earlier one.
        """
        self._entries += 1
        if self._entries > self._limits.entries:
            raise BundleRefusedError(self.bundle, f"it has more than {self._limits.entries:,} entries.", name)
        self._check(name)
        parts = name.split("/")
        for end in range(1, len(parts)):
            self._add_folder("/".join(parts[:end]), name)
        if folder:
            if name in self.folders and name in self._explicit:
                raise BundleRefusedError(self.bundle, "it is there twice.", name)
            self._explicit.add(name)
            self._add_folder(name, name)
        else:
            if name in self.files:
                raise BundleRefusedError(self.bundle, "it is there twice.", name)
            if name in self.folders:
                raise BundleRefusedError(self.bundle, "it is there both as a file and as a folder.", name)
            self._add_spelling(name, name)
            self.files.add(name)

    def _add_folder(self, folder: str, entry: str) -> None:
        if folder in self.folders:
            return
        if folder in self.files:
            raise BundleRefusedError(self.bundle, f"{folder!r} is there both as a file and as a folder.", entry)
        self._add_spelling(folder, entry)
        self.folders.add(folder)

    def _add_spelling(self, path: str, entry: str) -> None:
        """Refuse a second spelling of a name: some file systems take both for the same file."""
        key = unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())
        first = self._spelling.setdefault(key, path)
        if first != path:
            raise BundleRefusedError(
                self.bundle,
                f"it differs from {first!r} only in upper and lower case or in the form of its accents.",
                entry,
            )

    def _check(self, name: str) -> None:
        reason = _problem(name, self._limits)
        if reason:
            raise BundleRefusedError(self.bundle, reason, name)


def _problem(name: str, limits: UnpackLimits) -> str | None:
    """Return the first rule that a name breaks, as a sentence; None if it breaks none."""
    try:
        encoded = name.encode()
    except UnicodeEncodeError:
        return "its name is not valid Unicode."
    if "\0" in name:
        return "its name contains a NUL byte."
    if any(ord(c) < 32 or ord(c) == 127 for c in name):
        return "its name contains a control character."
    if "\\" in name:
        return "its name contains a backslash; names in a zip are written with '/'."
    if name.startswith("/"):
        return "its name is an absolute path."
    if _DRIVE.match(name):
        return "its name starts with a drive letter."
    parts = name.split("/")
    if ".." in parts:
        return "its name leads out of the bundle ('..')."
    if "" in parts or "." in parts:
        return "its name has an empty part or a '.' between slashes."
    if len(encoded) > limits.name_bytes or any(len(p.encode()) > _COMPONENT_BYTES for p in parts):
        return f"its name is too long (limit {limits.name_bytes} bytes, {_COMPONENT_BYTES} for each part)."
    if len(parts) > limits.depth:
        return f"it is nested more than {limits.depth} folders deep."
    return None


def check_root(bundle: str, tree: Tree) -> None:
    """Check that a bundle has a file `script.sh` at its root.

    :raises BundleRefusedError: it has none; the message says where there is one instead.
    """
    if SCRIPT in tree.files:
        return
    if SCRIPT in tree.folders:
        raise BundleRefusedError(bundle, "it must be a file, and is a folder.", SCRIPT)
    tops = {name.partition("/")[0] for name in tree.files | tree.folders} - {"__MACOSX"}
    top = next(iter(tops)) if len(tops) == 1 else None
    if top is not None and f"{top}/{SCRIPT}" in tree.files:
        raise BundleRefusedError(
            bundle,
            f"{SCRIPT} must be at the root, but everything is inside the folder {top!r}. "
            f"Zip what is in the folder, not the folder: cd {shlex.quote(top)} && zip -r ../bundle.zip .",
            f"{top}/{SCRIPT}",
        )
    near = next((name for name in sorted(tree.files) if name.casefold() == SCRIPT), None)
    if near:
        raise BundleRefusedError(bundle, f"it has no {SCRIPT} at its root. There is {near!r}: rename it.")
    if tree.files == {"-"}:
        raise BundleRefusedError(bundle, FROM_PIPE, "-")
    deeper = [name for name in tree.files if name.endswith(f"/{SCRIPT}") and not name.startswith("__MACOSX/")]
    deeper.sort(key=lambda name: (name.count("/"), name))
    if not deeper:
        raise BundleRefusedError(bundle, f"it has no {SCRIPT} at its root.")
    more = "" if len(deeper) == 1 else f", and {len(deeper) - 1} more deeper or beside it"
    folder = deeper[0].removesuffix(f"/{SCRIPT}")
    raise BundleRefusedError(
        bundle,
        f"it has no {SCRIPT} at its root. There is one in the folder {folder!r}{more}: make {folder!r} the root of the "
        f"bundle, or add a {SCRIPT} at the root that calls it.",
        deeper[0],
    )
