# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Move over from the original server: take over its history, for one workflow or for all."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from batchy_provider.core.values import Actor
from batchy_provider.original.history import Adoption, OriginalKeys, adopt, find_original_keys
from batchy_provider.services.answers import Audit

if TYPE_CHECKING:
    from batchy_provider.services.answers import AuditLog
    from batchy_provider.state.store import Store

__all__ = ["Adoption", "AdoptionService"]


class AdoptionService:
    """Take over the history that the original server wrote.

    :param store: returns the state in Redis.
    :param audit: called with each adoption after it is made.
    """

    def __init__(self, *, store: Callable[[], Store], audit: AuditLog) -> None:
        self._store = store
        self._audit = audit

    def adopt(self, workflow: str, *, actor: Actor, dry_run: bool = False) -> Adoption:
        """Take over the history of one workflow.

        :param dry_run: change nothing; return what would be done.
        :raises UnknownWorkflowError: Redis does not know it.
        """
        found = find_original_keys(self._store().backend, workflow)
        return self._adopt(workflow, found.get(workflow, OriginalKeys()), actor, dry_run)

    def each(self, *, actor: Actor, dry_run: bool = False) -> dict[str, Callable[[], Adoption]]:
        """Return one call per workflow in this Redis, by name, that takes over its history.

        If one call fails, the others still work.
        """
        store = self._store()
        found = find_original_keys(store.backend)
        return {
            workflow: partial(self._adopt, workflow, found.get(workflow, OriginalKeys()), actor, dry_run)
            for workflow in store.workflows()
        }

    def _adopt(self, workflow: str, keys: OriginalKeys, actor: Actor, dry_run: bool) -> Adoption:
        done = adopt(self._store().backend, workflow, keys, by=actor, dry_run=dry_run)
        if not dry_run and (done.adopted or done.ended):
            details = {"adopted": len(done.adopted), "ended": len(done.ended)}
            self._audit(Audit(workflow=workflow, action="adopt", actor=actor, details=details))
        return done
