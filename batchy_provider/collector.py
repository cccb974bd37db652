# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Keep Python's search for cycles of objects short where a program makes many objects that stay.

Python looks for unused cycles after every few hundred new objects, and now and then among all objects of the process.
Where everything that is made stays in use, it finds nothing, and takes a fifth to a half of the time.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_FEW = 50_000
"""New objects until Python looks among them, where it looks seldom. Its own default is 700."""


@contextmanager
def paused() -> Iterator[None]:
    """Do not look at all. Afterwards, the first search looks at everything, so this is for short-lived processes."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@contextmanager
def seldom() -> Iterator[None]:
    """Look more rarely."""
    thresholds = gc.get_threshold()
    is_ours = 0 < thresholds[0] < _FEW  # 0: the program never looks; more: another thread is here, or the program's own
    if is_ours:
        gc.set_threshold(_FEW, *thresholds[1:])
    try:
        yield
    finally:
        if is_ours:
            gc.set_threshold(*thresholds)


@contextmanager
def only_new() -> Iterator[None]:
    """Look more rarely, and only among the objects that are made meanwhile, not among those of the whole server.

    Afterwards, the older objects are looked at again. In a program that has put its objects aside itself, such as one
    that forks, they stay where it has put them.
    """
    is_ours = gc.isenabled() and gc.get_freeze_count() == 0
    if is_ours:
        gc.freeze()
    try:
        with seldom():
            yield
    finally:
        if is_ours:
            gc.unfreeze()
