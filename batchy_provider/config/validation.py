# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Turn the plain data of a file into a `Workflow`, or list its errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from batchy_provider.config.airflow_limits import check_airflow_limits
from batchy_provider.config.bundle_paths import BundleCheck, bundle_problem
from batchy_provider.config.calendar_model import NO_CALENDARS, KnownCalendars
from batchy_provider.config.diagnostics import Code, Violation, did_you_mean, show
from batchy_provider.config.field_types import WAS_VALID
from batchy_provider.config.job_order import resolve_order
from batchy_provider.config.key_checks import check, check_shared
from batchy_provider.config.model import SharedModel, WorkflowModel
from batchy_provider.config.model_errors import violations_of
from batchy_provider.config.original_files import check_original, is_original
from batchy_provider.config.schedule_checks import pick_calendar
from batchy_provider.config.workflow import Workflow


def validate(
    name: str,
    path: Path,
    data: Any,
    defaults: Mapping[str, Any],
    look: BundleCheck = bundle_problem,
    calendars: Callable[[], KnownCalendars] = lambda: NO_CALENDARS,
) -> tuple[Workflow | None, list[Violation]]:
    """Validate the data of a file.

    :param name: a valid name.
    :param path: the file.
    :param data: plain data.
    :param defaults: keys that the file inherits.
    :param look: checks a bundle.
    :param calendars: returns the calendars that the file can pick; called only if it picks one.
    :returns: the workflow, or None and the violations.
    """
    if not isinstance(data, dict):
        return None, [Violation((), Code.WRONG_TYPE, f"expected a mapping with a key jobs, not {show(data)}")]
    if is_original(data):
        violations = list(check_original(data))
        original = {job: fields or {} for job, fields in data.items()}
        return (None if violations else Workflow(name=name, path=path, original=original)), violations
    merged = merge(defaults, _without_notes(data))
    try:
        model = WorkflowModel.model_validate(merged)
    except ValidationError as error:
        violations = violations_of(error, WorkflowModel)
        return None, [*violations, *_further_violations(name, path.parent, merged, violations, look, calendars)]
    violations = list(_check(name, path.parent, model, look))
    calendar, of_calendar = pick_calendar(model, calendars)
    violations += of_calendar
    order, of_order = resolve_order(model.jobs)
    if violations or of_order:
        return None, [*violations, *of_order]
    return Workflow(name=name, path=path, model=model, order=order, calendar=calendar), []


def revalidate(
    path: Path,
    data: Any,
    defaults: Mapping[str, Any],
    look: BundleCheck,
    calendars: Callable[[], KnownCalendars],
) -> Workflow | None:
    """Make the workflow of data that was valid before. Check only what changes without the file: bundles and calendars.

    :returns: the workflow, or None if `validate` has to say what is wrong.
    """
    if is_original(data):
        return Workflow(name=path.stem, path=path, original={job: fields or {} for job, fields in data.items()})
    model = WorkflowModel.model_validate(merge(defaults, _without_notes(data)), context=WAS_VALID)
    calendar, violations = pick_calendar(model, calendars)
    if violations or any(_check_bundles(path.parent, model, look)):
        return None
    return Workflow(name=path.stem, path=path, model=model, order=resolve_order(model.jobs)[0], calendar=calendar)


def _further_violations(
    name: str,
    folder: Path,
    data: Mapping[str, Any],
    known: list[Violation],
    look: BundleCheck,
    calendars: Callable[[], KnownCalendars],
) -> Iterator[Violation]:
    """Check the file without its invalid keys, so that one run of validate shows all errors."""
    valid = dict(data)
    for problem in known:
        drop(valid, problem.path)
    try:
        model = WorkflowModel.model_validate(valid)
    except ValidationError:
        return
    # Without its invalid keys a job may seem to have other errors, or to follow another job.
    places = {problem.path[:2] if problem.path[:1] == ("jobs",) else problem.path[:1] for problem in known}
    for problem in (*_check(name, folder, model, look), *pick_calendar(model, calendars)[1]):
        if problem.path[:2] not in places and problem.path[:1] not in places:
            yield problem
    if not any(place[:1] == ("jobs",) for place in places):
        yield from resolve_order(model.jobs)[1]
        return
    for job_name, job in model.jobs.items():
        for index, other in enumerate(job.after or ()):
            if ("jobs", job_name) not in places and other not in data["jobs"]:
                message = f"no job {other!r} in this file{did_you_mean(other, data['jobs'])}"
                yield Violation(("jobs", job_name, "after", index), Code.UNDEFINED_JOB, message)


def _check(name: str, folder: Path, model: WorkflowModel, look: BundleCheck) -> Iterator[Violation]:
    yield from check(name, model)
    yield from check_airflow_limits(model)
    yield from _check_bundles(folder, model, look)


def _check_bundles(folder: Path, model: WorkflowModel, look: BundleCheck) -> Iterator[Violation]:
    for name, job in model.jobs.items():
        if job.bundle and (message := look(folder, job.bundle)):
            yield Violation(("jobs", name, "bundle"), Code.INVALID_BUNDLE, message)


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Merge keys over inherited ones: mappings are merged, everything else is replaced."""
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        if isinstance(value, dict) and isinstance(old, dict) and key != "schedule":
            merged[key] = merge(old, value)
        else:
            merged[key] = value
    return merged


def _without_notes(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """Remove keys that begin with ``x-``: they hold anchors and notes for other programs."""
    return {key: value for key, value in data.items() if not key.startswith("x-")}


def inherited_keys(data: Any) -> tuple[dict[str, Any], list[Violation]]:
    """Return the valid keys of a defaults file, and the errors of the invalid ones."""
    if not isinstance(data, dict):
        return {}, [
            Violation((), Code.WRONG_TYPE, f"expected a mapping of keys that the files below inherit, not {show(data)}")
        ]
    valid = dict(_without_notes(data))
    violations: list[Violation] = []
    if "jobs" in valid:
        del valid["jobs"]
        violations.append(
            Violation(("jobs",), Code.UNKNOWN_KEY, "jobs cannot be inherited; write them in each file", at_key=True)
        )
    try:
        found = list(check_shared(SharedModel.model_validate(valid)))
    except ValidationError as error:
        found = violations_of(error, SharedModel)
    for problem in found:
        drop(valid, problem.path)
    violations += found
    return valid, violations


def drop(data: dict[str, Any], path: tuple[str | int, ...]) -> None:
    """Remove a key, or the whole list if one of its entries is invalid."""
    for key in map(str, path[:-1]):
        if not isinstance(inner := data.get(key), dict):
            data.pop(key, None)
            return
        data[key] = dict(inner)  # a copy: it may be shared by an alias
        data = data[key]
    if path:
        data.pop(str(path[-1]), None)
