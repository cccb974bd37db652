# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The steps of the nights that put the workflow on hold and release it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import event
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from night_machine import CRASHES
from night_openings import Openings
from state_worlds import WORKFLOW, RealStore

from batchy_provider.core.values import Actor
from batchy_provider.exceptions import NotOnHoldError

OPS = Actor("ops", "cli")


class Holds(Openings):
    """A person holds the workflow. While this lasts, nothing opens, and everything else goes on."""

    @precondition(lambda self: self.model.jobs)
    @rule(seconds=st.none() | st.sampled_from([1, 3600, 86400]), crash=CRASHES)
    def a_person_holds_it(self, seconds: float | None, crash: Any) -> None:
        model, now, live = self.model, self.clock.now, self.live()
        until = None if seconds is None else now + timedelta(seconds=seconds)
        made, repeated = self.do(crash, lambda store: store.hold(WORKFLOW, by=OPS, why="migration", until=until))
        assert repeated or (made.replaced is not None) == model.is_held(now)
        assert self.live() == live, "an open batch goes on"
        model.holds, model.hold_ends = True, until
        event("put on hold")

    @precondition(lambda self: self.model.jobs)
    @rule(crash=CRASHES)
    def a_person_releases_it(self, crash: Any) -> None:
        def release(store: RealStore) -> bool:
            try:
                store.release(WORKFLOW, by=OPS)
            except NotOnHoldError:
                return False
            return True

        if not self.model.is_held(self.clock.now):
            with pytest.raises(NotOnHoldError):
                self.store.release(WORKFLOW, by=OPS)
            return
        released, repeated = self.do(crash, release)
        assert released or repeated
        assert self.store.status(WORKFLOW).hold is None
        self.model.holds = False
