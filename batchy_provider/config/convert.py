# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Convert a crontab or files of the original Batchy server to workflow files, and list what could not be converted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import TypeAdapter, ValidationError

from batchy_provider.bundles.script_environment import variable_name_problem
from batchy_provider.config.cron_expressions import PRESETS, airflow_reads_as_cron, same_days
from batchy_provider.config.crontab import Line, read_crontab
from batchy_provider.config.editing import yaml_text
from batchy_provider.config.field_types import Timezone
from batchy_provider.config.jinja import literal
from batchy_provider.config.job_name_checks import job_name_violations
from batchy_provider.config.job_order import PREVIOUS
from batchy_provider.config.programs import program_of
from batchy_provider.config.reader import Reader
from batchy_provider.config.workflow import Workflow
from batchy_provider.core.job_state import INITIAL_DATE, SETTING_FIELDS, STATE_FIELDS, JobState
from batchy_provider.core.names import check_workflow_name
from batchy_provider.exceptions import InvalidNameError

_HANDLED = ("CRON_TZ", "MAILTO", "MAILFROM", "SHELL", "RANDOM_DELAY", "LOGNAME", "USER")


@dataclass(slots=True)
class Converted:
    """One workflow file to be written.

    :param name: of the workflow.
    :param data: its content.
    :param comment: lines above it.
    :param left: what could not be carried over, a sentence each.
    """

    name: str
    data: dict[str, Any]
    comment: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)


class ConvertedCrontab(NamedTuple):
    """The workflows of a crontab, and sentences about the rest.

    :param left_out: lines that are no workflow now, ``line 7: …``.
    :param remarks: what holds for all workflows.
    """

    workflows: list[Converted]
    left_out: list[str]
    remarks: list[str]


def from_crontab(text: str, *, with_user: bool | None = None) -> ConvertedCrontab:
    """Convert each line of a crontab to a workflow. All results are valid; what cannot be converted is listed.

    :param text: as ``crontab -l`` prints it.
    :param with_user: lines have a user before the command, as in ``/etc/crontab``; None looks at them.
    """
    made: dict[str, Converted] = {}
    left_out: list[str] = []
    facts: dict[str, None] = {}
    for line in read_crontab(text, with_user=with_user):
        converted = _cron_line(line, facts)
        if not isinstance(converted, str):
            converted.name = _free_name(converted.name, made)
            converted = _checked(converted)
        if isinstance(converted, str):
            left_out.append(f"line {line.number}: {converted}: {line.text}")
        else:
            made[converted.name] = converted
    return ConvertedCrontab(list(made.values()), left_out, list(facts) if made else [])


def file_text(converted: Converted) -> str:
    """Return the text of a file, with its comment above."""
    # YAML ends a line at characters at which an editor does not.
    lines = ("".join(letter if letter.isprintable() else " " for letter in line) for line in converted.comment)
    return "".join(f"# {line}\n" for line in lines) + yaml_text(converted.data)


def _checked(converted: Converted) -> Converted | str:
    """Return a file if it is valid, else what is wrong with it."""
    _, diagnostics = Reader(".").read_text(Path(f"{converted.name}.yaml"), file_text(converted))
    return f"{diagnostics[0].key}: {diagnostics[0].message}" if diagnostics else converted


def _cron_line(line: Line, facts: dict[str, None]) -> Converted | str:
    if not line.command:
        return "no schedule and command"
    cron = _cron_of(line)
    if isinstance(cron, ValueError):
        return str(cron)
    left: list[str] = []
    command = line.command
    if line.given is not None:
        end = "INPUT"
        while end in line.given:
            end += "_"
        command = f"{{ {command}\n}} <<'{end}'\n{line.given}\n{end}"
        left.append("what cron gave on stdin (after %) is a here-document now: check it")
    job: dict[str, Any] = {"bash": literal(command)}
    env = {}
    for name, value in line.variables.items():
        if name in _HANDLED:
            continue
        if (problem := variable_name_problem(name)) is not None:
            left.append(f"the variable {problem}; left out")
        else:
            env[name] = literal(value)
    if env:
        job["env"] = env
    data: dict[str, Any] = {"schedule": cron}
    if timezone := line.variables.get("CRON_TZ"):
        try:
            data["timezone"] = TypeAdapter(Timezone).validate_python(timezone.lstrip(":"))
        except ValidationError:
            left.append(f"the timezone {timezone!r} is not known; it runs in UTC")
    else:
        facts["cron ran in the machine's timezone, and workflows run in UTC: set timezone if that differs"] = None
    if line.user:
        left.append(f"it ran as the user {line.user} and runs as Airflow's worker now")
    facts.update(dict.fromkeys(_facts_of(line.variables)))
    name = program_of(command) or f"line_{line.number}"
    try:
        name = check_workflow_name(name[:100])
    except InvalidNameError:
        name = f"line_{line.number}"
    data["jobs"] = {_job_name(name): job}
    return Converted(name=name, data=data, comment=list(line.comment), left=left)


def _cron_of(line: Line) -> str | ValueError:
    """Return when a line fires, in a form that Airflow reads as cron does, or why there is none."""
    schedule = line.schedule
    if schedule == "@reboot":
        return ValueError("a workflow is not started by a reboot")
    if schedule in PRESETS and schedule != "@quarterly":
        return schedule
    if schedule.startswith("@"):
        return ValueError(f"cron has no {schedule}")
    if line.seconds not in ("", "0", "00"):
        return ValueError(f"the first of six fields, {line.seconds!r}, is seconds, and Airflow schedules by the minute")
    try:
        problem = airflow_reads_as_cron(schedule)
        if problem is not None and (cron := same_days(schedule)) not in (None, schedule):
            return str(cron) if airflow_reads_as_cron(str(cron)) is None else ValueError(problem)
    except ValueError as error:
        return error
    return schedule if problem is None else ValueError(problem)


def _facts_of(variables: Mapping[str, str]) -> Iterator[str]:
    """Yield what is otherwise for all commands of a crontab."""
    yield "cron starts a command in the home folder, and a job starts in an empty folder: write cd or whole paths"
    shell = variables.get("SHELL", "/bin/sh")
    if Path(shell).name != "bash":
        yield f"commands ran in {shell} and run in bash now"
    yield "cron sets USER, LOGNAME and HOME for its user; a job has those of Airflow's worker"
    if recipient := variables.get("MAILTO"):
        yield f"no mail is sent (MAILTO={recipient}); add on_failure with a notifier"
    elif "MAILTO" not in variables:
        yield "the output of commands is not mailed; it is in the task's log; add on_failure with a notifier"
    if "RANDOM_DELAY" in variables:
        yield "RANDOM_DELAY is left out: workflows start on time"


def _job_name(name: str) -> str:
    return f"run_{name}" if name in ("open", "close", PREVIOUS) or name.startswith("wait_for_") else name


def _free_name(name: str, taken: Mapping[str, Any]) -> str:
    # Where capitals do not count in names of files, one would be written over the other.
    used = {each.casefold() for each in taken}
    names = (name, *(f"{name}_{number}" for number in range(2, len(taken) + 3)))
    return next(each for each in names if each.casefold() not in used)


def from_original(workflow: Workflow) -> Converted:
    """Make a workflow with jobs of a file of the original Batchy, which knows params alone.

    What a job runs is not in such a file: each gets a command that fails and says so, and the workflow makes no
    DAG until it is enabled.

    :param workflow: read from such a file.
    """
    assert workflow.original is not None
    left = ["the original does not say what jobs run: write it into each job, and remove enabled: false"]
    jobs: dict[str, Any] = {}
    for name, fields in workflow.original.items():
        renamed = _job_name(name)
        if renamed != name:
            left.append(f"the job {name!r} is {renamed!r} now; its state in Redis is not renamed")
        if any(job_name_violations(renamed, ())):
            left.append(f"the job {name!r} has a name that is not valid")
            continue
        jobs[renamed] = dict(_original_job(renamed, fields, left))
    return Converted(name=workflow.name, data={"enabled": False, "jobs": jobs}, left=left)


def _original_job(name: str, fields: Mapping[str, Any], left: list[str]) -> Iterator[tuple[str, Any]]:
    yield "bash", f"echo 'say here what {name} runs'; exit 1"
    for key in (*SETTING_FIELDS, INITIAL_DATE):
        if key in fields:
            value = fields[key]
            if key == "trunc_start" and isinstance(value, str):
                left.append(f"{name}: trunc_start was the text {value!r}, which the original ignored; left out")
            elif key == "reprocess_hours" and isinstance(value, str):
                number = _number(value)
                if number is None:
                    left.append(f"{name}: reprocess_hours {value!r} is no number; left out")
                else:
                    yield key, number
            else:
                yield key, value
    state = [key for key in STATE_FIELDS if key in fields]
    if state:
        left.append(f"{name}: {', '.join(state)} are state, which belongs in Redis; left out")
    params = JobState(dict(fields)).params
    params.pop(INITIAL_DATE, None)
    if params:
        yield "params", params


def _number(text: str) -> int | float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return int(number) if number.is_integer() else number
