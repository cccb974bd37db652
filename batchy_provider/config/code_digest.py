# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Tell one state of this package's code from another, so that no cache outlives a change of the rules."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pydantic
import yaml

from batchy_provider import __version__
from batchy_provider.config.file_scan import stamp_of
from batchy_provider.config.private_files import digest

_DECIDES = ("", "bundles", "config", "core", "dag_factory", "links", "operators", "sensors", "timetables", "triggers")
"""The folders whose code decides which workflow files are valid, and which DAGs are made of them."""


def _files() -> Iterator[str]:
    package = Path(__file__).parents[1]
    for folder in _DECIDES:
        with suppress(OSError), os.scandir(package / folder) as entries:
            for entry in sorted(entries, key=lambda each: each.name):
                if entry.name.endswith(".py"):
                    # Some installers give all files the same time of change.
                    yield f"{folder}/{entry.name} {stamp_of(entry.stat())}"


def _packages() -> Iterator[str]:
    """Yield what changes when other packages are installed: Airflow, Jinja and croniter decide, too."""
    for path in sys.path:
        if path.endswith("-packages"):
            with suppress(OSError):
                yield f"{path} {stamp_of(os.stat(path))}"  # noqa: PTH116 - of a text, in each process


CODE = digest(__version__, sys.version, pydantic.VERSION, yaml.__version__, *_packages(), *_files())
"""Computed when this module is imported, so that it stands for the code of this process."""
