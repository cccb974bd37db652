# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The nights of the state machine on a Redis that loses everything, or falls back to an older state, now and then.

After ``restore`` all must be there as it was; then the nights go on, and all that holds of them must hold further.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from typing import Any

import pytest
import redis
from archived import everything
from hypothesis import Phase, event, settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule, run_state_machine_as_test
from state_worlds import WORKFLOW, RealStore
from test_state_machine import Nights
from thoroughness import scaled

from batchy_provider.archive.archive_files import ArchiveFiles
from batchy_provider.archive.archiver import Archiver
from batchy_provider.core.values import Actor, OpenRequest
from batchy_provider.exceptions import LostStateError
from batchy_provider.services.archive import ArchiveService

_EXAMPLES = int(os.environ.get("BATCHY_TEST_EXAMPLES", "0"))
_STEPS = 40


class LossyNights(Nights):
    """One workflow, many nights, and a Redis without persistence."""

    def __init__(self, url: str) -> None:
        self.folder = tempfile.mkdtemp(prefix="batchy-archive-")
        self.files = ArchiveFiles(self.folder)
        super().__init__(url)
        self.service = ArchiveService(self.store, self.files)
        self.saved: dict[bytes, bytes] | None = None
        self.saved_mark: str | None = None
        self.is_set_back = False

    def store_on(self, client: redis.Redis) -> RealStore:
        return RealStore(client, clock=self.clock.read, archive=Archiver(lambda: self.files, warn=lambda _: None))

    def everything(self) -> dict[bytes, Any]:
        """What a step that is done twice leaves as it was; each counts as a change of its own."""
        found = super().everything()
        for stored in found.values():
            if isinstance(stored, dict):
                stored.pop(b"archive", None)
        return found

    def teardown(self) -> None:
        super().teardown()
        shutil.rmtree(self.folder)

    @rule(seconds=st.sampled_from([0.5, 3600, 3 * 86400]))
    def the_clock_is_set_back(self, seconds: float) -> None:
        super().the_clock_is_set_back(seconds)
        self.is_set_back = True

    @precondition(lambda self: len(self.model.batches) > 2)
    @rule(keep=st.integers(1, 4))
    def history_is_pruned(self, keep: int) -> None:
        super().history_is_pruned(keep)
        self.service.prune(WORKFLOW)
        self.saved = None

    @precondition(lambda self: self.model.jobs and self.is_all_kept())
    @rule()
    def redis_is_saved(self) -> None:
        self.service.write(WORKFLOW)
        self.saved = {key: self.client.dump(key) for key in sorted(self.client.scan_iter())}
        self.saved_mark = self.newest_change()

    @precondition(lambda self: self.model.jobs and self.is_all_kept())
    @rule()
    def redis_loses_everything(self) -> None:
        self.an_opening_is_kept()
        before = self.all_that_counts()
        self.client.flushall()
        self.restored(before)

    # Where only a batch was opened since, the archive knows of no change: test_archive.py has what comes of that.
    @precondition(
        lambda self: self.saved and self.model.jobs and self.is_all_kept() and self.newest_change() != self.saved_mark
    )
    @rule()
    def redis_falls_back(self) -> None:
        self.an_opening_is_kept()
        before = self.all_that_counts()
        self.client.flushall()
        assert self.saved is not None
        for key, value in self.saved.items():
            self.client.restore(key, 0, value)
        event(f"fell back: {self.service.compare(WORKFLOW).relation}")
        self.restored(before)

    def newest_change(self) -> str | None:
        text = self.client.hget(f"{WORKFLOW}:meta", "archive")
        return None if text is None else next(iter(json.loads(text)["tokens"]), None)

    def an_opening_is_kept(self) -> None:
        """Openings are not kept by themselves; nor is what came before the first closing."""
        if self.model.is_open or self.files.latest(WORKFLOW) is None:
            self.service.write(WORKFLOW)

    def is_all_kept(self) -> bool:
        """Tell whether the archive can know all: no batch is open but the live one, and that was opened by us."""
        is_open = [batch for batch in self.model.batches.values() if batch.status == "open"]
        live = self.store.status(WORKFLOW).batch
        is_ours = live is None or live.batch_id in self.model.batches
        return is_ours and self.live_is_in_history and all(batch is self.model.live for batch in is_open)

    def restored(self, before: dict[str, Any]) -> None:
        found = self.service.compare(WORKFLOW)
        if found.relation in ("lost", "behind"):
            with pytest.raises(LostStateError, match="batchy restore sales"):
                self.store.open(WORKFLOW, OpenRequest(config=self.config()))
        done = self.service.restore(WORKFLOW, actor=Actor("ops"))
        assert done.refused is None
        after = self.all_that_counts()
        assert after == before
        assert not self.service.compare(WORKFLOW).is_lost
        again = self.service.restore(WORKFLOW, actor=Actor("ops"))
        assert (again.state, again.batches) == (False, 0)

    def all_that_counts(self) -> dict[str, Any]:
        found = everything(self.client)
        listed = {f"{WORKFLOW}-{int(batch_id)}" for batch_id, _ in found.get(f"{WORKFLOW}:history", [])}
        # What the original opened twice in a row is in no list of ours, and nobody will close it.
        found = {key: value for key, value in found.items() if not key.startswith(f"{WORKFLOW}-") or key in listed}
        meta = found.get(f"{WORKFLOW}:meta", {})
        mark = json.loads(meta.pop("archive", "{}"))
        return {**found, "number": mark.get("number"), "tokens": mark.get("tokens", [])[:5]}


def test_nights_on_a_redis_that_loses_what_it_had(redis_url: str) -> None:
    run_state_machine_as_test(
        lambda: LossyNights(redis_url),
        settings=settings(
            max_examples=_EXAMPLES or scaled(15),
            stateful_step_count=_STEPS,
            derandomize=not _EXAMPLES,
            database=None,
            phases=[Phase.generate],
        ),
    )
