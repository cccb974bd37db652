# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""All faces of a server that lives for long answer as a process that has just begun, whatever happens beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from all_faces import faces
from long_lived import MORE, NAMES, Site
from why_nights import run, write

from batchy_provider.services.composition import Services


@pytest.fixture
def site(redis_url: str, cfg: Path) -> Iterator[Callable[[int], Site]]:
    """A function that returns a server, and chance that decides what happens beside it."""
    made: list[Site] = []

    def of(seed: int) -> Site:
        made.append(Site(redis_url, cfg, seed))
        return made[-1]

    yield of
    for each in made:
        each.close()


def asked(services: Services, now: datetime) -> dict[str, Any]:
    return faces(services, (*NAMES, *MORE), now)


@pytest.mark.parametrize(
    ("seed", "steps"),
    [(2, 20), (202, 20), *(pytest.param(seed, 60, marks=pytest.mark.slow) for seed in (105, 110, 118))],
)
def test_a_long_lived_server_answers_as_a_new_process(site: Callable[[int], Site], seed: int, steps: int) -> None:
    it = site(seed)
    asked(it.server, it.clock.now)
    for _ in range(steps):
        it.step()
        it.listen()
        it.settle()
        found = asked(it.server, it.clock.now)
        new = it.services()
        wanted = asked(new, it.clock.now)
        new.close()
        story = "\n".join(it.told[-6:])
        for face, answer in wanted.items():
            assert found[face] == answer, f"{face}, after:\n{story}"


def test_one_answer_to_why_is_that_of_all(services: Services, cfg: Path) -> None:
    """Also of a workflow whose window ends where another one has loaded to that was never opened."""
    write(cfg, "crm", schedule="0 2 * * *")
    write(cfg, "mart", schedule="0 2 * * *", window={"until": {"workflows": ["crm"]}})
    for _ in range(2):
        everything = services.why.all()
        assert everything == {name: services.why.of(name) for name in ("crm", "mart")}
        run(services, "crm")


def test_a_batch_that_the_original_closes_job_by_job_has_no_end_yet(services: Services, cfg: Path) -> None:
    client = services.store.backend.client
    client.hset("sales", "a", '{"status": "success", "batch_id": 1, "batch_end": "2026-11-01T03:00:00"}')
    client.hset("sales", "b", '{"status": "open", "batch_id": 1, "batch_end": null}')
    (row,) = services.workflows.summaries()
    assert (row.status, row.batch_end) == ("open", None)
    client.hset("sales", "b", '{"status": "success", "batch_id": 1, "batch_end": "2026-11-01T04:00:00"}')
    (row,) = services.workflows.summaries()
    assert (row.status, row.batch_end) == ("success", "2026-11-01T04:00:00")
