# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""What a server keeps of the files is what they say now, also where stamps or dates say that nothing has changed."""

from __future__ import annotations

import os
import tempfile
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace

import pytest

from batchy_provider.config import catalog as catalog_module
from batchy_provider.config import date_checks, file_scan, schedule_checks, valid_files
from batchy_provider.config.catalog import Catalog
from batchy_provider.config.document import Document

FILE = 'description: {}\njobs: {{load: {{bash: "true"}}}}\n'


class Clock:
    """The clocks of a catalog, set by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.passed = 0.0
        self._began = time.time()
        self._patch = monkeypatch
        clocks = SimpleNamespace(time=lambda: self._began + self.passed, monotonic=lambda: self.passed)
        monkeypatch.setattr(catalog_module, "time", clocks)
        self.wait(0)

    def wait(self, seconds: float) -> None:
        self.passed += seconds
        moment = datetime.fromtimestamp(self._began + self.passed, timezone.utc)

        class Now(datetime):
            @classmethod
            def now(cls, tz: object = None) -> datetime:  # type: ignore[override]  # only with a zone here
                return moment

        for module in (date_checks, schedule_checks, catalog_module):
            self._patch.setattr(module, "datetime", Now)

    def after(self, seconds: float) -> str:
        return f"{datetime.fromtimestamp(self._began + seconds, timezone.utc):%Y-%m-%dT%H:%M:%S}"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def description(catalog: Catalog) -> str | None:
    model = catalog.read().workflows["sales"].model
    return None if model is None else model.description


@pytest.fixture
def coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that cannot tell two changes of one moment."""
    now = time.time_ns()

    def stamp_of(found: os.stat_result) -> file_scan.Stamp:
        return now, now, found.st_size, 0

    for module in (file_scan, catalog_module):
        monkeypatch.setattr(module, "stamp_of", stamp_of)


@pytest.mark.usefixtures("coarse")
@pytest.mark.parametrize("name", ["sales", "_defaults"])
def test_a_second_change_with_the_same_stamp_is_seen(tmp_path: Path, clock: Clock, name: str) -> None:
    (tmp_path / "sales.yaml").write_text('jobs: {load: {bash: "true"}}\n')
    (tmp_path / f"{name}.yaml").write_text(FILE.format("one") if name == "sales" else "description: one\n")
    catalog = Catalog(tmp_path)
    assert description(catalog) == "one"
    (tmp_path / f"{name}.yaml").write_text(FILE.format("two") if name == "sales" else "description: two\n")
    clock.wait(2.5)
    assert description(catalog) == "two"
    last = catalog.read()
    clock.wait(3600)
    assert catalog.read() is last


@pytest.mark.parametrize("name", ["sales", "_defaults"])
def test_an_error_that_passes_with_time_is_not_kept(tmp_path: Path, clock: Clock, name: str) -> None:
    """Airflow has the DAG from then on, so the page must not show an error."""
    dated = f'initial_date: "{clock.after(60)}"\n'
    jobs = 'jobs: {load: {bash: "true"}}\n'
    (tmp_path / "sales.yaml").write_text(jobs + (dated if name == "sales" else ""))
    (tmp_path / "_defaults.yaml").write_text(dated if name == "_defaults" else "max_active_runs: 1\n")
    catalog = Catalog(tmp_path)
    (error,) = catalog.read().diagnostics
    assert "is in the future" in error.message
    clock.wait(40)
    last = catalog.read()
    assert last.diagnostics == [error]
    clock.wait(40)
    found = catalog.read()
    assert found.diagnostics == []
    model = found.workflows["sales"].model
    assert model is not None
    assert model.initial_date == clock.after(60)


def test_an_error_that_stays_makes_nothing_new(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "sales.yaml").write_text(FILE.format("one"))
    (tmp_path / "shops.yaml").write_text("jobs: []\n")
    catalog = Catalog(tmp_path)
    catalog.read()
    clock.wait(10)
    last = catalog.read()
    clock.wait(60)
    assert catalog.read() is last


def test_a_schedule_that_has_no_due_time_from_this_year_on_is_an_error(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "_calendars.yaml").write_text("shop: {weekend: [sun]}\n")
    schedule = 'schedule: {cron: "0 2 * * *", calendar: shop, on: business_days}\n'
    (tmp_path / "sales.yaml").write_text(schedule + FILE.format("one"))
    catalog = Catalog(tmp_path)
    assert description(catalog) == "one"
    year = datetime.now(timezone.utc).year
    monkeypatch.setattr(schedule_checks, "_is_ever_due", lambda due, now: now <= year)
    clock.wait(timedelta(days=366).total_seconds())
    assert catalog.read().workflows == {}


@pytest.fixture
def parsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files whose YAML was parsed since the last look, with no cache yet."""
    found: list[str] = []
    parse = valid_files.document_of

    def counting(path: Path, raw: bytes) -> Document:
        found.append(path.name)
        return parse(path, raw)

    (tmp_path / "cache").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "cache"))
    monkeypatch.setattr(valid_files, "document_of", counting)
    return found


def test_the_next_server_does_not_check_the_same_files_again(tmp_path: Path, parsed: list[str]) -> None:
    folder = tmp_path / "cfg"
    folder.mkdir()
    for name in ("crm", "sales", "shops"):
        (folder / f"{name}.yaml").write_text(FILE.format("one") if name != "shops" else "jobs: []\n")
    first = Catalog(folder, remembers=True)
    before = first.read()
    assert sorted(parsed) == ["crm.yaml", "sales.yaml", "shops.yaml"]
    parsed.clear()
    again = Catalog(folder, remembers=True).read()
    assert parsed == ["shops.yaml"], "errors are found again each time"
    assert again.workflows.keys() == before.workflows.keys() == {"crm", "sales"}
    assert again.diagnostics == before.diagnostics
    # A server that goes on reads what has changed, and keeps the rest of the cache for the next one.
    (folder / "sales.yaml").write_text(FILE.format("two"))
    assert description(first) == "two"
    parsed.clear()
    assert description(Catalog(folder, remembers=True)) == "two"
    assert "crm.yaml" not in parsed


def test_a_command_writes_no_cache(tmp_path: Path, parsed: list[str]) -> None:
    folder = tmp_path / "cfg"
    folder.mkdir()
    (folder / "sales.yaml").write_text(FILE.format("one"))
    Catalog(folder).read()
    assert list((tmp_path / "cache").iterdir()) == []
