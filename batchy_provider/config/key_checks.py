# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Check keys together: keys that exclude each other, and names that already mean something else."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from batchy_provider.bundles.script_environment import variable_name_problem
from batchy_provider.config.date_checks import check_dates, check_initial_date
from batchy_provider.config.diagnostics import Code, KeyPath, Violation, one_of, show
from batchy_provider.config.jinja import template_violations
from batchy_provider.config.job_model import Job
from batchy_provider.config.job_name_checks import check_instances, check_job_key
from batchy_provider.config.model import SharedModel, WorkflowModel
from batchy_provider.config.run_checks import check_runs
from batchy_provider.config.schedule_checks import check_schedule
from batchy_provider.config.script_checks import check_script
from batchy_provider.config.wait_checks import check_waits
from batchy_provider.config.window_checks import check_window
from batchy_provider.core.job_state import INITIAL_DATE, SETTING_FIELDS, STATE_FIELDS

ITEM = "ITEM"
"""Environment variable of a script with its entry of ``for_each``: text as it is, everything else as JSON."""

MAX_VARIABLE_BYTES = 128 * 1024
"""Bytes that Linux allows for one environment variable, with its name and the NUL at its end."""

SPECIAL = frozenset((*STATE_FIELDS, *SETTING_FIELDS, INITIAL_DATE))
"""Special fields of a job's state. No param may have one of these names."""

ACTIONS = ("bundle", "bash", "operator")
_SCRIPT_ONLY = ("input", "inputs", "outputs", "kill_grace", "background_timeout", "limits", "env", "inherit_env")
_STATE_ONLY = ("reprocess_hours", "trunc_start", "initial_date")
# Arguments that the factory sets, and the key of the file that sets the same.
FACTORY_ARGS = {
    "dag": None,
    "task_group": None,
    "task_id": "the job's name",
    "trigger_rule": "when",
    "pre_execute": None,
    "execution_timeout": "timeout",
    "retries": "retries",
    "retry_delay": "retry_delay",
    "retry_exponential_backoff": "retry_backoff",
    "max_retry_delay": "max_retry_delay",
    "max_active_tis_per_dagrun": "at_once of for_each",
    "on_failure_callback": "on_failure",
    "on_retry_callback": "on_retry",
    "on_success_callback": "on_success",
    "pool": "pool",
    "queue": "queue",
    "owner": "owner",
    "priority_weight": "priority",
    "doc_md": "doc",
}


def check(name: str, model: WorkflowModel) -> Iterator[Violation]:
    """Yield the errors of a workflow whose single keys are all valid."""
    yield from check_shared(model)
    yield from check_dates(model)
    yield from check_waits(name, model)
    yield from check_schedule(model)
    yield from check_runs(model)
    yield from check_window(name, model)
    yield from check_instances(model)
    for job_name, job in model.jobs.items():
        yield from check_job_key(job_name)
        yield from _check_action(job_name, job)
        yield from _check_handler(job_name, job)
        yield from _check_params(job_name, job)
        yield from _check_items(job_name, job)
        yield from check_initial_date(job.initial_date, model, ("jobs", job_name, "initial_date"))
        yield from _check_env(job.env, ("jobs", job_name, "env"))
        if job.for_each is not None and job.operator is None and ITEM in {**model.defaults.env, **job.env}:
            path = ("jobs", job_name, "env", ITEM) if ITEM in job.env else ("defaults", "env", ITEM)
            yield Violation(
                path,
                Code.RESERVED_NAME,
                f"{ITEM} is the entry of for_each; give the variable another name",
                at_key=True,
            )
        yield from _check_templates(job_name, job)


def check_shared(model: SharedModel) -> Iterator[Violation]:
    """Yield the errors of keys that files may inherit."""
    yield from _check_env(model.defaults.env, ("defaults", "env"))
    yield from check_initial_date(model.initial_date, model, ("initial_date",))
    yield from check_initial_date(model.defaults.initial_date, model, ("defaults", "initial_date"))


def _check_env(env: Mapping[str, str], path: KeyPath) -> Iterator[Violation]:
    for name, text in env.items():
        if (problem := variable_name_problem(name)) is not None:
            yield Violation((*path, name), Code.INVALID_VARIABLE, problem, at_key=True)
        elif why := no_variable(name, text, "the value"):
            yield Violation((*path, name), Code.INVALID_VARIABLE, why)
    yield from template_violations(dict(env), path)


def _check_templates(name: str, job: Job) -> Iterator[Violation]:
    """Yield templates of a script that cannot be rendered. Which arguments of an operator are some, its class says."""
    if job.operator is None:
        for key in ("bash", "bundle", "inputs", "outputs"):
            yield from template_violations(getattr(job, key), ("jobs", name, key))
        for index, item in enumerate(job.for_each if isinstance(job.for_each, list) else ()):
            yield from template_violations(item_text(item), ("jobs", name, "for_each", index))


def _check_action(name: str, job: Job) -> Iterator[Violation]:
    path = ("jobs", name)
    given = [key for key in ACTIONS if getattr(job, key) is not None]
    if not given:
        yield Violation(
            path, Code.MISSING_KEY, f"the job does nothing yet; give it one of {one_of(ACTIONS)}", at_key=True
        )
    elif len(given) > 1:
        message = f"a job can have only one of {one_of(ACTIONS)}; make two jobs"
        yield Violation((*path, given[1]), Code.CONFLICT, message, at_key=True)
    if job.bundle == "" or job.bash == "":
        yield Violation((*path, given[0]), Code.MISSING_VALUE, "expected text, but it is empty")
    if job.sha256 is not None and job.bundle is None:
        yield Violation((*path, "sha256"), Code.CONFLICT, "only a bundle has a digest", at_key=True)
    if job.operator is None:
        yield from check_script(name, job)
        return
    if isinstance(job.args, list):
        message = "expected a mapping of arguments of the operator; only a script takes a list"
        yield Violation((*path, "args"), Code.WRONG_TYPE, message, at_key=True)
    if "." not in job.operator:
        yield Violation(
            (*path, "operator"),
            Code.INVALID_VALUE,
            f"expected a full Python path such as airflow.providers.standard.operators.empty.EmptyOperator, "
            f"not {job.operator!r}",
        )
    for key in _SCRIPT_ONLY:
        if key in job.model_fields_set:
            yield Violation((*path, key), Code.CONFLICT, "only bundle and bash jobs have this key", at_key=True)
    for key in job.operator_args:
        if key in FACTORY_ARGS:
            instead = FACTORY_ARGS[key]
            hint = f"; use {instead}" if instead else ""
            yield Violation(
                (*path, "args", key), Code.RESERVED_NAME, f"{key!r} is set by the workflow{hint}", at_key=True
            )


def _check_handler(name: str, job: Job) -> Iterator[Violation]:
    path = ("jobs", name)
    if job.independent and "when" in job.model_fields_set and job.when != "done":
        message = "independent means when: done; remove one of the two"
        yield Violation((*path, "independent"), Code.CONFLICT, message, at_key=True)
    if job.is_handler:
        for key in _STATE_ONLY:
            if key in job.model_fields_set:
                yield Violation((*path, key), Code.CONFLICT, "a handler (when: failed) has no window", at_key=True)


def _check_items(name: str, job: Job) -> Iterator[Violation]:
    path = ("jobs", name, "for_each")
    if job.for_each is None:
        return
    if job.is_handler:
        yield Violation(path, Code.CONFLICT, "a handler (when: failed) runs once", at_key=True)
    if not isinstance(job.for_each, list):
        return
    seen: dict[str, int] = {}
    for index, item in enumerate(job.for_each):
        text = item_text(item) if job.operator is None else json.dumps(item, sort_keys=True)
        if (first := seen.setdefault(text, index)) != index:
            yield Violation(
                (*path, index),
                Code.DUPLICATE_ENTRY,
                f"{show(item)} is the same as entry {first + 1}; the job would run twice for it",
            )
        elif job.operator is None and (why := no_variable(ITEM, text, "the entry")):
            yield Violation((*path, index), Code.INVALID_VARIABLE, why)
    if job.operator is not None:
        for index, item in enumerate(job.for_each):
            if not isinstance(item, dict) or not item:
                yield Violation(
                    (*path, index),
                    Code.WRONG_TYPE,
                    f"expected a mapping of arguments of the operator, not {show(item)}",
                )
            else:
                for key in item.keys() & FACTORY_ARGS.keys():
                    yield Violation(
                        (*path, index, key), Code.RESERVED_NAME, f"{key!r} is set by the workflow", at_key=True
                    )
                for key in item.keys() & job.operator_args.keys():
                    yield Violation(
                        (*path, index, key), Code.DUPLICATE_KEY, f"{key!r} is also in args; remove one", at_key=True
                    )


def item_text(item: Any) -> str:
    """Return an entry of ``for_each`` as its script gets it: text as it is, everything else as JSON."""
    return item if isinstance(item, str) else json.dumps(item, ensure_ascii=False)


def no_variable(name: str, text: str, what: str) -> str | None:
    """Return why a text cannot be the value of an environment variable, or None.

    :param what: what the text is, for the message.
    """
    size = len(text.encode())
    if size > (most := MAX_VARIABLE_BYTES - len(f"{name}=\0")):
        return f"{what} has {size} bytes, and an environment variable can have {most}; put it into a file of the bundle"
    return None


def _check_params(name: str, job: Job) -> Iterator[Violation]:
    for key in job.params:
        if key in SPECIAL:
            settings = (*SETTING_FIELDS, INITIAL_DATE)
            hint = "write it beside params" if key in settings else "give the param another name"
            yield Violation(
                ("jobs", name, "params", key),
                Code.RESERVED_NAME,
                f"{key!r} is a field of the batch itself; {hint}",
                at_key=True,
            )
