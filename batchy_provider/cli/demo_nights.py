# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Give a demo its history of 60 nights while Airflow starts, and let the workflows of that history go on."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from batchy_provider.exceptions import BatchyError

if TYPE_CHECKING:
    from batchy_provider.local.stack import LocalStack


class DemoNights:
    """The history of one demo. It is invented once: a second demo in the same folder finds it.

    :param stack: returns the demo's own servers; nothing else gets an invented history.
    :param note: called with each line for the user.
    """

    def __init__(self, stack: Callable[[], LocalStack], note: Callable[[str], None]) -> None:
        self._stack = stack
        self._note = note
        self._made: list[str] = []
        self._thread: threading.Thread | None = None

    def begin(self) -> None:
        """Invent the history in the background, as soon as Valkey answers."""
        self._thread = threading.Thread(target=self._make, name="batchy-demo-history", daemon=True)
        self._thread.start()

    def finish(self) -> None:
        """Wait until the history is complete, and say what it is."""
        if self._thread is None:
            return
        self._thread.join()
        if self._made:
            self._note(
                f"Demo history: 60 invented nights of {', '.join(self._made)}. Each batch says so: it is opened by "
                "'demo history'"
            )

    def go_on(self) -> None:
        """Unpause the workflows of the history, so that the plan has their next runs, and they happen."""
        from batchy_provider.local.demo_stories import STORIES
        from batchy_provider.local.process import StackError

        for name in STORIES:
            with contextlib.suppress(StackError):  # a person can unpause it, too
                self._stack().client.unpause(name)

    def _make(self) -> None:
        from redis.exceptions import RedisError

        from batchy_provider.local.demo_history import make_demo_history

        stack = self._stack()
        results = None if stack.topology.own_disks else stack.folder / "results"
        try:
            self._made = make_demo_history(stack.redis_url, stack.cfg, results)
        except (BatchyError, RedisError, OSError) as error:  # the demo runs all the same
            self._note(f"batchy: the demo history cannot be made: {error}")


def is_of_demo_history(workflow: str) -> bool:
    """Tell whether the history of a workflow is invented by the demo."""
    from batchy_provider.local.demo_stories import STORIES

    return workflow in STORIES
