# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Programs that see another time than this machine's: Debian's libfaketime."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

LIBRARY = next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))), None)


def needs_faketime() -> None:
    """Skip where libfaketime is not installed; in CI, fail."""
    if LIBRARY is None:
        message = "libfaketime is not installed (Debian: apt-get install libfaketime)"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)


class Clock:
    """
    The clock of the programs that get its `environment`; it may be set while they run.

    :param file: says how far it is off
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self.set(0)
        self.environment = {
            "LD_PRELOAD": str(LIBRARY),
            "FAKETIME_TIMESTAMP_FILE": str(file),
            "FAKETIME_CACHE_DURATION": "1",
            # A machine whose clock is set wrong still knows how much time passes.
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }

    def set(self, hours: float) -> None:
        """Set it to so many hours from the right time."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{hours * 3600:+.0f}\n")
        new.replace(self._file)
