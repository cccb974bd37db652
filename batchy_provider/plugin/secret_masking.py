# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Mask secrets in the fields of jobs and in the text of workflow files.

A value is a secret if its name looks like the name of a secret, such as ``password`` or ``api_key``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import yaml

from batchy_provider.bundles.masking import MASK, hide, is_secret_name, secrets_in
from batchy_provider.compat import secrets_masker
from batchy_provider.config.document import DocumentError, parse

if TYPE_CHECKING:
    from batchy_provider.core.job_state import Fields

_LINE = re.compile(r"""(?P<before>(?P<indent>\s*)(?:-\s+)*["']?(?P<key>[\w.\- ]+?)["']?\s*:)(?P<value>\s.*|)\Z""")
_PAIR = re.compile(r"""(["']?)([\w.\-]+)\1(\s*:\s*)("(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|[^\s,}\]{\["'#][^,}\]\n]*)""")
_URL_PASSWORD = re.compile(r"(://[^:/@\s]*:)[^@\s/]+@")


def is_secret(name: str) -> bool:
    """Tell whether a value with this name is a secret.

    The names come from this package, from Airflow, and from the option ``sensitive_var_conn_names``.
    """
    return is_secret_name(name) or bool(secrets_masker().should_hide_value_for_key(name))


def mask_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a job, or its progress report, with masked secrets."""
    masked: dict[str, Any] = hide(dict(fields), is_secret)
    return masked


def mask_jobs(jobs: Mapping[str, Fields]) -> dict[str, Fields]:
    """Return the fields of each job with masked secrets. The name of a job makes no value secret.

    :param jobs: job → its fields.
    """
    return {job: mask_fields(fields) for job, fields in jobs.items()}


def mask_file(text: str, *, is_json: bool = False) -> str:
    """Return the text of a workflow file with masked secrets. The file need not be valid.

    The number of lines does not change, so the lines of diagnostics stay correct.
    """
    try:
        data = parse(text, is_json=is_json).data
        masked = _masked_by_nodes(text)
    except (DocumentError, yaml.YAMLError):
        return _URL_PASSWORD.sub(rf"\1{MASK}@", _masked_by_lines(text))
    masked = _URL_PASSWORD.sub(rf"\1{MASK}@", masked)
    values = secrets_in(data, is_secret) if isinstance(data, Mapping) else set()
    for value in sorted((line.strip() for each in values for line in each.split("\n")), key=len, reverse=True):
        if len(value) > 4:
            masked = masked.replace(value, MASK)
    return masked


def _masked_by_nodes(text: str) -> str:
    """Mask secrets by the nodes of the YAML parser. The value of an alias is masked at its anchor."""
    spans, waiting, seen = [], [yaml.compose(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))], set()
    while waiting:
        node = waiting.pop()
        if node is None or id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            waiting += node.value
        elif isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if isinstance(key, yaml.ScalarNode) and is_secret(key.value):
                    spans.append((value.start_mark.index, value.end_mark.index))
                else:
                    waiting.append(value)
    pieces, at = [], 0
    for start, end in sorted(spans):
        if start >= at:  # not inside a span that is masked already
            pieces += [text[at:start], _masked_lines(text[start:end])]
            at = end
    return "".join([*pieces, text[at:]])


def _masked_lines(value: str) -> str:
    """Mask a value line by line. The white space between the value and the next key stays."""
    first, *others = value.rstrip().split("\n")
    lines = [MASK if first else "", *(re.sub(r"\S.*", MASK, line) for line in others)]
    return "\n".join(lines) + value[len(value.rstrip()) :]


def _masked_by_lines(text: str) -> str:
    """Mask secrets line by line, in a text that is not valid YAML."""
    lines, inside = [], -1
    for line in text.split("\n"):
        indent = len(line) - len(line.lstrip())
        if inside >= 0 and (not line.strip() or indent > inside or line.lstrip().startswith("- ")):
            lines.append(line[:indent] + MASK if line.strip() else line)
            continue
        found = _LINE.match(line)
        inside = -1
        if found and is_secret(found["key"]):
            inside = len(found["indent"])
            lines.append(f"{found['before']} {MASK}")
        else:
            lines.append(_PAIR.sub(_masked_pair, line))
    return "\n".join(lines)


def _masked_pair(found: re.Match[str]) -> str:
    quote, key, colon, _ = found.groups()
    return f"{quote}{key}{quote}{colon}{MASK}" if is_secret(key) else found.group()
