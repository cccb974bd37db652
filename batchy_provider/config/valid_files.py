# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Read workflow files without checking again what an earlier reading, also of another process, found to be valid.

Airflow parses all workflows in a new process, every half a minute. Without the cache, most of the time would go to YAML
and to the checks of keys.
"""

from __future__ import annotations

import json
import logging
import os
from contextlib import suppress
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path

from batchy_provider.config.code_digest import CODE
from batchy_provider.config.date_checks import depends_on_date
from batchy_provider.config.document import Document, DocumentError
from batchy_provider.config.file_scan import read_bytes
from batchy_provider.config.private_files import PrivateFile, digest
from batchy_provider.config.reader import Read, Reader, document_of
from batchy_provider.config.validation import revalidate
from batchy_provider.config.workflow import Workflow

log = logging.getLogger(__name__)

_MAX_TEXT = 50_000
"""Characters of a file's data as JSON, which writes aliases out."""
_MAX_FACTOR = 4
"""Characters of JSON for each byte of a larger file: more than JSON needs without aliases. A file whose aliases make
more of it is read again each time, since its data would fill the cache."""

_ANY_DAY = "-"
"""In place of the day on which a file was valid, if no check of it depends on the day."""


class CachingReader(Reader):
    """Read the files of one folder like `Reader`, and check only those that are new or have changed.

    A file is known by the digest of all that decides whether it is valid: its path and content, the keys that it
    inherits, and this package. Where the date decides too, what was found is valid on that day only. Bundles and
    calendars change without the file, so each reading looks at them. Only valid files are remembered: each reading
    finds all errors again.

    :param folder: the top folder.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        super().__init__(folder)
        self._file = PrivateFile(digest("valid files", str(self.folder.absolute())))
        self.today = str(datetime.now(timezone.utc).date())
        self._valid: dict[str, str] = {}
        self._unread: list[str] = []
        self._inherited: dict[Path, str] = {}
        self._opened: tuple[Path, bytes, str] | None = None

    def key(self, path: Path) -> str | None:
        """Return the digest of a file; None if it cannot be read.

        If the next call is `read` of the same file, it takes the content that this call has read.
        """
        self._opened = None
        with suppress(DocumentError):
            raw = read_bytes(path)
            self._opened = path, raw, digest(CODE, str(path), raw, self._keys_above(path.parent))
        return None if self._opened is None else self._opened[2]

    def read(self, path: Path) -> Read:
        """Read one file; return what `Reader.read` does."""
        if self._opened is None or self._opened[0] != path:
            self.key(path)
        opened, self._opened = self._opened, None
        if opened is None:
            return super().read(path)
        _, raw, key = opened
        if (found := self._known.get(key)) is not None and (known := self._read_again(path, found)) is not None:
            self._valid[key] = found
            return known, []
        documents: list[Document] = []

        def document() -> Document:
            documents.append(document_of(path, raw))
            return documents[0]

        workflow, diagnostics = self._read(path, document)
        if workflow is not None:
            text = json.dumps(documents[0].data)
            if len(text) <= max(_MAX_TEXT, _MAX_FACTOR * len(raw)):
                day = self.today if depends_on_date(workflow.model) else _ANY_DAY
                self._valid[key] = f"{day} {text}"
        return workflow, diagnostics

    def is_remembered(self, key: str) -> bool:
        """Tell whether this reader has read a valid file, and its data is short enough for a cache."""
        return key in self._valid

    def remember_unread(self, key: str) -> None:
        """Keep what is known of a valid file that nobody has to read, since its DAG is built without its data."""
        self._unread.append(key)

    def remember(self) -> None:
        """Write down the valid files that this reader has read, in place of all others."""
        if not self._valid:  # nothing is new, so the cache need not even be read
            return
        self._valid |= {key: self._known[key] for key in self._unread if key in self._known}
        if self._valid != self._known:
            self._file.replace("\n".join(f"{key} {text}" for key, text in self._valid.items()).encode("ascii"))

    @cached_property
    def _known(self) -> dict[str, str]:
        """Digest → day and data as JSON, of the files that were valid at an earlier reading."""
        known: dict[str, str] = {}
        with suppress(ValueError):
            for line in self._file.read().decode("ascii").splitlines():
                key, _, text = line.partition(" ")
                known[key] = text
        return known

    def _read_again(self, path: Path, found: str) -> Workflow | None:
        """Return the workflow of a file that was valid before; None if it has to be read like a new one."""
        day, _, text = found.partition(" ")
        if day not in (_ANY_DAY, self.today):
            return None
        try:
            return revalidate(
                path, json.loads(text), self.defaults(path.parent), self.look, lambda: self.calendars(path.parent)
            )
        except Exception:  # such as of a damaged cache
            log.debug("Reading %s from the cache", path, exc_info=True)
            return None

    def _keys_above(self, folder: Path) -> str:
        """Return the digest of the keys that the files of a folder inherit."""
        if folder not in self._inherited:
            self._inherited[folder] = digest(json.dumps(self.defaults(folder)))
        return self._inherited[folder]
