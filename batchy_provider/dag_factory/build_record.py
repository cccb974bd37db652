# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Record which workflow files made DAGs that Airflow can store, for the processes that parse them again.

Two files of the DAGs folder read the same workflow files, each in a process of its own: one gives Airflow the DAGs, the
other one shows the errors. With the record of the first, the second builds only what has changed since.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

from batchy_provider.config.code_digest import CODE
from batchy_provider.config.date_checks import depends_on_date
from batchy_provider.config.file_scan import stamp_of
from batchy_provider.config.private_files import PrivateFile, digest
from batchy_provider.config.schedule_model import CronSchedule
from batchy_provider.config.valid_files import CachingReader
from batchy_provider.config.workflow import Workflow
from batchy_provider.dag_factory.blueprint import Blueprint, blueprint_of, decode, encode

MAX_AGE = 600.0
"""Seconds for which the record says that other Python classes build their tasks; longer if parses are rarer.

Nothing shows when such a class changes: it may read a file, or import a module that has changed. The parse that gives
Airflow the DAGs builds them each time, so the record is as old as that parse. If it does not come, others build."""

MIN_CACHED = 20
"""Of fewer DAGs, all are read, built and serialized in each parse, which takes less time than anybody notices."""

_MAX_TEXT = 100_000
"""Characters of a blueprint in the record: the keys that all files inherit may be long, and each has a copy."""

_SEPARATOR = "\t"
"""Between what is known of a file and the blueprint of its DAG. JSON holds no tab."""

_PLAIN = json.dumps([False, None, None]) + _SEPARATOR
"""How most lines begin, so that these need not be read as JSON."""


class _Built(NamedTuple):
    """A file whose DAG was built.

    :param looks_outside: whether it names bundles or a calendar, which change without the file.
    :param modules: the files of the Python classes that it names; None if it names none.
    :param day: the day on which it was valid, if its checks depend on that; else None.
    """

    looks_outside: bool
    modules: list[str] | None
    day: str | None


class BuildRecord:
    """Which workflow files of a folder had no error when their DAGs were built last, and the blueprints of their DAGs.

    A file whose DAG has an error is not in it, so that each parse builds it and shows the error as it is then.

    The first line of the record is for all files. Each other line is one file: its key, what is known of it, and the
    blueprint of its DAG, which may be empty. Lines are read only when they are needed.

    :param reader: of the folder of the workflow files.
    """

    def __init__(self, reader: CachingReader) -> None:
        self._reader = reader
        self._file = PrivateFile(digest("built files", str(reader.folder.absolute())))
        self._environment = _environment()
        self._now: dict[str, str] = {}
        self._again: list[str] = []
        self._modules_now: set[str] = set()
        self._modules: dict[str, set[str]] = {}
        self._before, self._stamps, self._time = self._read()
        self._count = len(self._before)

    def __len__(self) -> int:
        return self._count

    def can_store(self, key: str | None) -> bool:
        """Tell whether the DAG of a file needs no check: it has no other classes than those of this package.

        :param key: of the file, see `CachingReader.key`.
        """
        found = self._built(key)
        return found is not None and found.modules is None

    def is_current(self, key: str | None) -> bool:
        """Tell whether a file still makes its DAG, so that nobody has to build it to find its errors."""
        found = self._built(key)
        if found is None or found.day not in (None, self._reader.today):
            return False
        if found.modules is None:
            return True
        age = time.time() - self._time
        return 0 <= age <= _max_age() and all(_stamp(file) == self._stamps.get(file) for file in found.modules)

    def looks_outside(self, key: str | None) -> bool:
        """Tell whether a file has to be read to find its errors, although it has not changed."""
        found = self._built(key)
        return found is None or found.looks_outside

    def blueprint(self, key: str | None, path: Path) -> Blueprint | None:
        """Return the blueprint of the DAG of a file that nobody has to check again; None if somebody has to."""
        built = self._built(key) if len(self) >= MIN_CACHED else None
        if key is None or built is None or built.modules is not None or built.day not in (None, self._reader.today):
            return None
        text = self._before[key].partition(_SEPARATOR)[2]
        with suppress(ValueError):
            found = decode(path, text)
            if not any(self._reader.look(path.parent, bundle) for bundle in found.bundles):
                return found
        return None

    def add_again(self, key: str) -> None:
        """Add a file whose DAG was built now, from the blueprint in this record, which is forgotten to save memory."""
        self._again.append(key)
        del self._before[key]
        self._reader.remember_unread(key)

    def add(self, key: str | None, workflow: Workflow) -> None:
        """Add a file that was read and whose DAG was built now."""
        if key is None:
            return
        modules = self._modules_of(workflow)
        self._modules_now.update(modules or ())
        day = self._reader.today if depends_on_date(workflow.model) else None
        text = ""
        if workflow.has_dag and self._reader.is_remembered(key):
            text = encode(blueprint_of(workflow)) or ""
        built = _Built(_looks_outside(workflow), modules, day)
        self._now[key] = json.dumps(built) + _SEPARATOR + (text if len(text) <= _MAX_TEXT else "")

    def write(self) -> None:
        """Write down what was built, in place of all before."""
        is_same = self._now.items() <= self._before.items() and len(self._now) + len(self._again) == self._count
        if is_same and not self._modules_now:
            return
        if self._again:
            before = self._read()[0]  # what another parse has left out since is built like a new file
            self._now |= {key: before[key] for key in self._again if key in before}
        header = {
            "environment": self._environment,
            "time": time.time(),
            "modules": {file: _stamp(file) for file in sorted(self._modules_now)},
        }
        lines = [json.dumps(header), *(f"{key} {line}" for key, line in self._now.items())]
        self._file.replace("\n".join(lines).encode("ascii"))

    def _built(self, key: str | None) -> _Built | None:
        line = self._before.get(key or "")
        if line is None:
            return None
        if line.startswith(_PLAIN):
            return _Built(looks_outside=False, modules=None, day=None)
        with suppress(ValueError, TypeError):
            return _Built(*json.loads(line.partition(_SEPARATOR)[0]))
        return None

    def _modules_of(self, workflow: Workflow) -> list[str] | None:
        classes = set(workflow.classes)
        for name in classes - self._modules.keys():
            self._modules[name] = set(_files_of(name))
        return sorted(set().union(*(self._modules[name] for name in classes))) if classes else None

    def _read(self) -> tuple[dict[str, str], Mapping[str, Any], float]:
        with suppress(ValueError, KeyError, TypeError, AttributeError):
            lines = BytesIO(self._file.read())  # line by line: all of them would take twice the memory
            record = json.loads(next(lines, b"{}"))
            if record.get("environment") == self._environment:
                parts = (line.decode("ascii").rstrip("\n").partition(" ") for line in lines)
                return {key: rest for key, _, rest in parts}, dict(record["modules"]), float(record["time"])
        return {}, {}, 0.0


def _environment() -> str:
    """Return the digest of what decides how DAGs are built, beside the files: versions and Airflow's configuration."""
    from airflow import __version__, configuration

    file = getattr(configuration, "AIRFLOW_CONFIG", "")  # not a public name
    options = sorted(item for item in os.environ.items() if item[0].startswith("AIRFLOW__"))
    return digest(CODE, __version__, json.dumps(options), str(_stamp(file)))


def _max_age() -> float:
    from airflow.configuration import conf

    return max(MAX_AGE, 2.0 * conf.getint("dag_processor", "min_file_process_interval", fallback=30))


def _looks_outside(workflow: Workflow) -> bool:
    model = workflow.model
    if model is None:
        return False
    has_calendar = isinstance(model.schedule, CronSchedule) and model.schedule.calendar is not None
    return has_calendar or any(job.bundle is not None for job in model.jobs.values())


def _files_of(name: str) -> Iterator[str]:
    """Yield the files that define a class and those that it inherits from."""
    module, _, attribute = name.rpartition(".")
    cls = getattr(sys.modules.get(module), attribute, None)
    for name_of_module in {module, *(each.__module__ for each in getattr(cls, "__mro__", ()))}:
        file = getattr(sys.modules.get(name_of_module), "__file__", None)
        if file is not None:
            yield file


def _stamp(file: str) -> list[int] | None:
    try:
        return list(stamp_of(Path(file).stat()))
    except (OSError, ValueError):
        return None
