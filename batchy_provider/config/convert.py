# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Workflow files of ours, made of a crontab or of the original Batchy's files; and what could not be carried over."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from batchy_provider.batches.model import INITIAL_DATE, SETTING_FIELDS, STATE_FIELDS
from batchy_provider.batches.names import check_workflow_name
from batchy_provider.config.checks import job_name_problems
from batchy_provider.config.crons import PRESETS
from batchy_provider.config.fields import Cron, Timezone
from batchy_provider.config.order import PREVIOUS
from batchy_provider.config.workflow import Workflow
from batchy_provider.exceptions import InvalidNameError

_ASSIGNMENT = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*?)\s*")
_SHELLS = ("sh", "bash")
_HANDLED = ("CRON_TZ", "TZ", "MAILTO", "SHELL")


@dataclass(slots=True)
class Converted:
    """One workflow file to be written.

    :param name: of the workflow.
    :param data: its content.
    :param comment: lines that stand above it.
    :param left: what could not be carried over, a sentence each.
    """

    name: str
    data: dict[str, Any]
    comment: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)


def from_crontab(text: str, *, with_user: bool = False) -> tuple[list[Converted], list[str]]:
    """Make a workflow of each line of a crontab.

    :param text: as ``crontab -l`` prints it.
    :param with_user: lines have a user before the command, as in ``/etc/crontab``.
    :returns: the workflows, and what belongs to none of them and could not be carried over.
    """
    made: dict[str, Converted] = {}
    left: list[str] = []
    variables: dict[str, str] = {}
    comment: list[str] = []
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            comment = [*comment, line.lstrip("# ")] if line.strip("# ") else []
            continue
        if assigned := _ASSIGNMENT.fullmatch(line):
            value = assigned[2]
            is_quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "\"'"
            variables[assigned[1]] = value[1:-1] if is_quoted else value
            continue
        converted = _cron_line(line, number, variables, with_user)
        if isinstance(converted, str):
            left.append(f"line {number}: {converted}: {line}")
        else:
            converted.comment = comment
            converted.name = _free_name(converted.name, made)
            made[converted.name] = converted
        comment = []
    return list(made.values()), left


def _cron_line(line: str, number: int, variables: Mapping[str, str], with_user: bool) -> Converted | str:
    fields = 1 if line.startswith("@") else 5
    words = line.split(None, fields + with_user)
    if len(words) <= fields + with_user:
        return "no schedule and command"
    schedule, command = " ".join(words[:fields]), words[-1]
    if schedule == "@reboot":
        return "a workflow is not started by a reboot"
    cron = PRESETS.get(schedule, schedule)
    try:
        TypeAdapter(Cron).validate_python(cron)
    except ValidationError as error:
        return str(error.errors()[0]["msg"])
    left: list[str] = []
    command, given = _split_percent(command)
    if given is not None:
        command = f"{command} <<'INPUT'\n{given}\nINPUT"
        left.append("what cron gave on stdin (after %) is a here-document now: check it")
    job: dict[str, Any] = {"bash": command}
    if env := {name: value for name, value in variables.items() if name not in _HANDLED}:
        job["env"] = env
    timezone = variables.get("CRON_TZ") or variables.get("TZ")
    data: dict[str, Any] = {"schedule": cron if schedule not in PRESETS else schedule}
    if timezone:
        try:
            data["timezone"] = TypeAdapter(Timezone).validate_python(timezone.lstrip(":"))
        except ValidationError:
            left.append(f"the timezone {timezone!r} is not known; it runs in UTC")
    else:
        left.append("cron ran it in the machine's timezone, and this runs in UTC: set timezone if that differs")
    if recipient := variables.get("MAILTO"):
        left.append(f"nobody is mailed (MAILTO={recipient}); add on_failure with a notifier")
    if (shell := variables.get("SHELL")) and Path(shell).name not in _SHELLS:
        left.append(f"it ran in {shell} and runs in bash now")
    if with_user:
        left.append(f"it ran as the user {words[fields]} and runs as Airflow's worker now")
    name = _name_of(command, number)
    data["jobs"] = {_job_name(name): job}
    return Converted(name=name, data=data, left=left)


def _split_percent(command: str) -> tuple[str, str | None]:
    r"""Part a command at its first ``%``, as cron does; ``\%`` is a percent sign, and further ones are line breaks."""
    parts = [part.replace(r"\%", "%") for part in re.split(r"(?<!\\)%", command)]
    return parts[0].strip(), "\n".join(parts[1:]) if len(parts) > 1 else None


def _name_of(command: str, number: int) -> str:
    """Name a workflow by the program that it runs."""
    try:
        words = shlex.split(command.partition("\n")[0])
    except ValueError:
        words = command.split()
    while words and ("=" in words[0] or words[0] in ("cd", "&&", ";", "exec", "nice", "bash", "sh")):
        words = words[2:] if words[0] == "cd" else words[1:]
    programs = [word for word in words if not word.startswith("-")]
    stem = Path(programs[0]).name.partition(".")[0] if programs else ""
    name = re.sub(r"[^A-Za-z0-9_.\-]+", "_", stem, flags=re.ASCII).strip("_.-")
    try:
        return check_workflow_name(name)
    except InvalidNameError:
        return f"line_{number}"


def _job_name(name: str) -> str:
    return f"run_{name}" if name in ("open", "close", PREVIOUS) or name.startswith("wait_for_") else name


def _free_name(name: str, taken: Mapping[str, Any]) -> str:
    names = (name, *(f"{name}_{count}" for count in range(2, len(taken) + 3)))
    return next(each for each in names if each not in taken)


def from_original(workflow: Workflow) -> Converted:
    """Make a workflow with jobs of a file of the original Batchy, which knows params alone.

    What a job runs is not in such a file: each gets a command that fails and says so, and the workflow makes no
    DAG until it is enabled.

    :param workflow: read from such a file.
    """
    assert workflow.original is not None
    left = ["the original does not say what jobs run: write it into each, and take enabled: false away"]
    jobs: dict[str, Any] = {}
    for name, fields in workflow.original.items():
        renamed = _job_name(name)
        if renamed != name:
            left.append(f"the job {name!r} is {renamed!r} now, and its state in Redis stays behind")
        if any(job_name_problems(renamed, ())):
            left.append(f"the job {name!r} has a name that no job may have")
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
        left.append(f"{name}: {', '.join(state)} are state, which is in Redis; left out")
    params = {key: value for key, value in fields.items() if key not in (*SETTING_FIELDS, INITIAL_DATE, *STATE_FIELDS)}
    if params:
        yield "params", params


def _number(text: str) -> int | float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return int(number) if number.is_integer() else number
