# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Check whether workflows that ask for warnings about their deadlines can get them."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING

from batchy_provider.plan.deadline_outlooks import nearest
from batchy_provider.plan.pending_runs import at_text
from batchy_provider.services.plan_answers import DEFAULT_HOURS
from batchy_provider.services.server_checks import Finding
from batchy_provider.services.warning_service import wanted_deadlines
from batchy_provider.state.warning_changes import read_evaluated

if TYPE_CHECKING:
    from batchy_provider.config.catalog import Catalog
    from batchy_provider.services.plan_answers import PlanService
    from batchy_provider.state.store import Store

_SHOWN = 3
_SILENT = timedelta(minutes=30)


def warnings_of(store: Store, catalog: Catalog, plan: PlanService) -> Iterator[Finding]:
    """Yield what keeps workflows from being warned about; one finding if nothing does; none if no file asks for it."""
    wanted = wanted_deadlines(catalog.read())
    if not wanted:
        return
    facts, runs = plan.foresee(wanted.keys(), DEFAULT_HOURS)
    known = {name for name in wanted if facts.workflows[name].readable is not None}
    evaluated = read_evaluated(store.backend, known)
    newest = max(evaluated.values(), default=None)
    silent = bool(known) and (newest is None or facts.now - newest > _SILENT)
    if silent:
        since = "were never evaluated" if newest is None else f"were last evaluated at {at_text(newest)}"
        yield Finding(
            "warnings",
            "warn",
            f"{len(wanted)} workflows ask for warnings about their deadlines, which {since}: nobody is warned. Look "
            "whether Airflow has the DAG batchy_warnings, and whether it is paused",
        )
    unknown = []
    for name in sorted(wanted):
        own = nearest(facts.workflows[name], [run for run in runs if run.workflow == name])
        if name not in known or (own and all(run.miss_probability is None for run in own)):
            unknown.append(name)
    if unknown:
        yield Finding(
            "warnings",
            "warn",
            f"no probability of a missed deadline is known for {_names(unknown)}, so there is no warning: three "
            "successful runs of it, and of each workflow that it waits for, are needed",
        )
    if not silent and not unknown:
        yield Finding("warnings", "ok", f"{len(wanted)} workflows ask for warnings about their deadlines")


def _names(names: Collection[str]) -> str:
    shown = ", ".join(list(names)[:_SHOWN])
    return shown + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
