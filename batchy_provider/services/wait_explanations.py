# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Explain why workflows have not succeeded, for the logs of those who wait for them: a hold, or the root cause."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from batchy_provider.plan.why import why_all
from batchy_provider.plan.why_codes import WhyCode
from batchy_provider.services.folder_view import FolderView
from batchy_provider.services.why_scan import WhyScan

if TYPE_CHECKING:
    from batchy_provider.config.catalog import Catalog
    from batchy_provider.state.store import Store

LONG_SECONDS = 600.0
"""A wait of that length is long, and its log says why it goes on."""
_NOTHING_TO_SAY = frozenset({WhyCode.DONE, WhyCode.RUNNING, WhyCode.CATCHING_UP})
"""The verdicts of the wait say as much."""


@dataclass(frozen=True, slots=True)
class WaitExplanation:
    """Why a workflow has not succeeded.

    :param chain: the workflows of the way to the root cause, with their codes. It changes only if the reason does. The
        text also says how long ago something was.
    :param text: one line for a log.
    """

    chain: tuple[tuple[str, str], ...]
    text: str


def explain_waits(store: Store, catalog: Catalog, workflows: Collection[str]) -> dict[str, WaitExplanation]:
    """Return workflow → why it has not succeeded, in a few round trips for all of them.

    Without the workflows of which the verdict of a wait says all: those that run. What scripts have written to stderr
    is not in there, since others may read the log of a wait.
    """
    scan = WhyScan(store, FolderView.of(catalog.read()))
    facts = scan.read(scan.neighbours.above(workflows), with_history=False)
    found = {}
    for name, answer in why_all(facts, workflows).items():
        if answer.chain[-1].code in _NOTHING_TO_SAY:
            continue
        chain = tuple((link.workflow, link.code.value) for link in answer.chain)
        found[name] = WaitExplanation(chain, f"{name} has not succeeded yet. The root cause: {answer.text}")
    return found
