# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Moving over from the original server: its history taken over, for one workflow or for all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

from batchy_provider.core.values import Actor
from batchy_provider.original.history import Adoption, Found, adopt, find_past
from batchy_provider.services.answers import Audit

if TYPE_CHECKING:
    from batchy_provider.services.composition import Services


def adopt_workflow(services: Services, workflow: str, *, actor: Actor, dry_run: bool = False) -> Adoption:
    """
    Take over the history of one workflow.

    :raises UnknownWorkflowError: Redis does not know it.
    """
    past = find_past(services.store.backend, workflow).get(workflow, Found())
    return _adopt(services, workflow, past, actor, dry_run)


def adopters(services: Services, *, actor: Actor, dry_run: bool = False) -> dict[str, Callable[[], Adoption]]:
    """
    Return what takes over the history of each workflow in this Redis, by name.

    Each may fail by itself, without harm to the others.
    """
    past = find_past(services.store.backend)
    return {
        workflow: partial(_adopt, services, workflow, past.get(workflow, Found()), actor, dry_run)
        for workflow in services.store.workflows()
    }


def data_of(adoption: Adoption) -> dict[str, Any]:
    """Return it as JSON holds it."""
    return asdict(adoption)


def _adopt(services: Services, workflow: str, past: Found, actor: Actor, dry_run: bool) -> Adoption:
    done = adopt(services.store.backend, workflow, past, by=actor, dry_run=dry_run)
    if not dry_run and (done.adopted or done.ended):
        details = {"adopted": len(done.adopted), "ended": len(done.ended)}
        services.audit(Audit(workflow=workflow, action="adopt", actor=actor, details=details))
    return done
