# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""A workflow is removed, renamed or replaced while a program still writes its last closing into the archive."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import redis
from archived import WORKFLOW, Site

from batchy_provider.archive.archive_files import ArchiveFiles
from batchy_provider.core.dates import format_date, parse_date
from batchy_provider.core.values import Actor
from batchy_provider.services.composition import Services
from batchy_provider.state import archive_lag, codec

WHO = Actor("ops")


class SlowFiles(ArchiveFiles):
    """An archive that takes its time to write a batch, until a test lets it go on."""

    def __init__(self, results: str) -> None:
        super().__init__(results)
        self.writes, self.goes_on = threading.Event(), threading.Event()
        self.goes_on.set()

    def put_batch(self, batch: Any) -> None:
        self.writes.set()
        assert self.goes_on.wait(120)
        super().put_batch(batch)


@pytest.fixture
def site(redis_client: redis.Redis, tmp_path: Path) -> Iterator[Site]:
    made = Site(redis_client, tmp_path, files=SlowFiles(str(tmp_path)))
    yield made
    assert isinstance(made.files, SlowFiles)
    made.files.goes_on.set()


@pytest.fixture
def services(site: Site, tmp_path: Path) -> Services:
    return Services(store=lambda: site.store, cfg=tmp_path / "cfg", archive=lambda: site.files)


def remove(services: Services) -> Any:
    return services.removal.remove(WORKFLOW, actor=WHO)


def rename(services: Services) -> Any:
    return services.renaming.rename(WORKFLOW, "orders", actor=WHO)


@pytest.mark.parametrize(("act", "left"), [(remove, []), (rename, ["orders"])])
@pytest.mark.parametrize("nights", [0, 2])
def test_nothing_comes_into_the_archive_afterwards(
    site: Site,
    services: Services,
    monkeypatch: pytest.MonkeyPatch,
    act: Callable[[Services], Any],
    left: list[str],
    nights: int,
) -> None:
    waits, pause = threading.Event(), archive_lag.pause

    def noticed() -> None:
        waits.set()
        pause()

    for module in ("archive_lag", "removal"):
        monkeypatch.setattr(f"batchy_provider.state.{module}.pause", noticed)
    for _ in range(nights):
        site.night()
    files = site.files
    assert isinstance(files, SlowFiles)
    batch = site.opened()
    files.writes.clear()
    files.goes_on.clear()
    with ThreadPoolExecutor() as pool:
        closing: Future[Any] = pool.submit(site.closed, batch)
        assert files.writes.wait(120)
        acting = pool.submit(act, services)
        assert waits.wait(120), "it waits for the closing"
        assert not acting.done()
        files.goes_on.set()
        closing.result(120)
        acting.result(120)
    assert files.workflows() == left
    assert site.opened().record.kind == "live", "a new workflow of that name opens"


def test_a_program_that_was_killed_while_it_wrote_is_not_waited_for_for_ever(site: Site, services: Services) -> None:
    site.night()
    keys = site.store.backend.keys(WORKFLOW)
    revision = codec.load_revision(keys.meta, site.client.hget(keys.meta, codec.REVISION).decode())
    assert revision is not None
    assert revision.writing is None, "what is written is confirmed"
    seconds, micros = site.client.time()
    long_ago = site.store.backend.clock(seconds, micros) - archive_lag.LONGEST
    killed = {**codec.dump_revision(revision), "writing": format_date(parse_date(format_date(long_ago)))}
    site.client.hset(keys.meta, codec.REVISION, codec.dump(killed))
    assert remove(services).batches == 1


def test_an_archive_that_fails_is_not_waited_for(
    site: Site, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.night()
    with monkeypatch.context() as broken:
        broken.setattr(SlowFiles, "put_batch", lambda self, batch: 1 / 0)
        site.night()
    assert "the archive is not complete" in site.warnings[-1]
    assert remove(services).batches == 2
