# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Write a batch for other programs: as the JSON of the original's endpoints, or as a parameter file of Informatica."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Literal

from batchy_provider.core.dates import parse_date
from batchy_provider.core.job_state import DATE_FIELDS, INITIAL_DATE, Fields
from batchy_provider.exceptions import ConfigError

FORMATS = ("json", "infa")
_DATE_FIELDS = (*DATE_FIELDS, INITIAL_DATE)
_INFA_KEYS = ("folder", "workflow", "session", "dates")
_FORBIDDEN_IN_NAME = re.compile(r"[\s=\[\]]")


def check_format(name: str) -> str:
    """Return the name of a format. Check it before you open a batch, so that no batch stays open after the error.

    :raises ConfigError: if there is no format of that name.
    """
    if name not in FORMATS:
        raise ConfigError(f"there is no format {name!r}; use one of {', '.join(FORMATS)}")
    return name


def to_json(jobs: Mapping[str, Fields]) -> str:
    """Return job → fields as JSON, in the form of the original's endpoints: indented by four."""
    return json.dumps(jobs, indent=4)


def check_infa(workflow: str, options: Mapping[str, Any]) -> None:
    """Check the ``infa`` section of a configuration.

    :raises ConfigError: if a key is unknown, or a heading cannot contain a value.
    """
    for key, value in options.items():
        if key not in _INFA_KEYS:
            raise ConfigError(f"{workflow}: infa has no key {key!r}; its keys are {', '.join(_INFA_KEYS)}")
        if not isinstance(value, str) or re.search(r"[\[\]\r\n]", value):
            raise ConfigError(f"{workflow}: infa {key} is {value!r}; expected text without brackets or line breaks")
    if options.get("dates", "powercenter") not in ("powercenter", "iso"):
        raise ConfigError(f"{workflow}: infa dates is {options['dates']!r}; expected powercenter or iso")


def to_infa(
    workflow: str,
    jobs: Mapping[str, Fields],
    options: Mapping[str, Any] | None = None,
    *,
    dates: Literal["powercenter", "iso"] | None = None,
) -> str:
    """Return job → fields as an Informatica PowerCenter parameter file.

    :param options: the ``infa`` section of the configuration. With ``folder``, headings are
        ``[folder.WF:workflow.ST:session]``; without it, they are ``[job]`` as in the original. ``workflow`` defaults
        to the workflow's name, and ``session`` to ``{job}``, which means the job's name.
    :param dates: ``powercenter`` for ``MM/DD/YYYY HH24:MI:SS.US``, ``iso`` for the original's dates; overrides
        ``dates`` of `options`.
    :raises ConfigError: if a line of such a file cannot contain a name or value.
    """
    options = options or {}
    check_infa(workflow, options)
    date_format = dates or options.get("dates", "powercenter")
    sections = []
    for job, fields in jobs.items():
        lines = [_heading(workflow, job, options)]
        for name, value in fields.items():
            where = f"{workflow}, job {job!r}, {name}"
            is_date = name in _DATE_FIELDS and isinstance(value, str)
            text = _infa_date(value) if is_date and date_format == "powercenter" else _infa_value(value)
            if re.search(r"[\r\n]", text):
                raise ConfigError(f"{where}: its value has a line break, which a parameter file cannot hold")
            if not name or _FORBIDDEN_IN_NAME.search(name):
                raise ConfigError(
                    f"{where}: a parameter's name cannot be empty or hold spaces, '=' or brackets in a parameter file"
                )
            lines.append(f"{name if name.startswith('$') else '$$' + name}={text}")
        sections.append("\n".join(lines) + "\n")
    return "\n".join(sections)


def _heading(workflow: str, job: str, options: Mapping[str, Any]) -> str:
    if not options.get("folder"):
        return f"[{job}]"
    session = options.get("session", "{job}").replace("{job}", job)
    return f"[{options['folder']}.WF:{options.get('workflow', workflow)}.ST:{session}]"


def _infa_date(text: str) -> str:
    return parse_date(text).strftime("%m/%d/%Y %H:%M:%S.%f")


def _infa_value(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False)
    return str(value)
