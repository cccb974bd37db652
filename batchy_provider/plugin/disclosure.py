# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Decide what a caller may see of an answer. All data of ``/api/v1`` leaves through here.

- Values under names that tell of a secret are ``***`` for everyone. Who edits a workflow has its file, and Redis.
- Names of workflows that the caller may not read are left out of lists, and ``***`` in sentences.
- Paths of this server and the address of Redis are only for callers with the right to change Airflow's configuration.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import yaml
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.configuration import conf
from fastapi import Depends

from batchy_provider.bundles.masking import MASK, hide, is_secret_name, secrets_in
from batchy_provider.compat import secrets_masker
from batchy_provider.config.document import DocumentError, parse
from batchy_provider.config.job_name_checks import WAIT_PREFIX
from batchy_provider.plugin.airflow_services import Deployment
from batchy_provider.plugin.security import AnyCaller, Caller

if TYPE_CHECKING:
    from batchy_provider.config.diagnostics import Diagnostic
    from batchy_provider.core.job_state import Fields
    from batchy_provider.core.values import PersonalChange
    from batchy_provider.services.answers import BatchView, JobSummary, WorkflowDetail, WorkflowSummary
    from batchy_provider.services.composition import Services

S = TypeVar("S", bound="WorkflowSummary")

_NAME = re.compile(r"[A-Za-z0-9_.\-]+")
_HINT = re.compile(r"; did you mean '([^']*)'\?")
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
_LOCAL_URL = re.compile(r"\b(?:file|local):/\S*", re.IGNORECASE)
_PATH = re.compile(r"(?<![\w:/.~*-])(?!/batchy/|/api/)/(?:[\w.@%+~=-]+/)+[\w.@%+~=-]*")
_REDIS = re.compile(r"\b(rediss?(?:\+\w+)?|unix)://\S+|\b(Redis(?: Cluster)? at )\S+|\b[\w.-]+:\d{1,5}\b(?!:)")
_LINE = re.compile(r"""(?P<before>(?P<indent>\s*)(?:-\s+)*["']?(?P<key>[\w.\- ]+?)["']?\s*:)(?P<value>\s.*|)\Z""")
_PAIR = re.compile(r"""(["']?)([\w.\-]+)\1(\s*:\s*)("(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|[^\s,}\]{\["'#][^,}\]\n]*)""")
_URL_PASSWORD = re.compile(r"(://[^:/@\s]*:)[^@\s/]+@")


def is_secret(name: str) -> bool:
    """Tell whether a name tells of a secret: by our list, by Airflow's, or by the site's `sensitive_var_conn_names`."""
    return is_secret_name(name) or bool(secrets_masker().should_hide_value_for_key(name))


def shown(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a job, or a report of one, without its secrets."""
    hidden: dict[str, Any] = hide(dict(fields), is_secret)
    return hidden


def shown_jobs(jobs: Mapping[str, Fields]) -> dict[str, Fields]:
    """Return job → fields without secrets; names of jobs tell of none."""
    return {job: shown(fields) for job, fields in jobs.items()}


def without_secrets(text: str, *, is_json: bool = False) -> str:
    """Return the text of a workflow file without the values of names that tell of a secret, whether sound or not.

    A line stays a line, so that diagnostics stay where they are.
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
    """Mask what the YAML parser takes for the value of such a name; an alias is masked where its anchor is."""
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
        if start >= at:  # not inside of one that is masked already
            pieces += [text[at:start], _masked_lines(text[start:end])]
            at = end
    return "".join([*pieces, text[at:]])


def _masked_lines(value: str) -> str:
    """Mask a value line by line. A block ends where the next key begins: the space before that stays."""
    first, *others = value.rstrip().split("\n")
    lines = [MASK if first else "", *(re.sub(r"\S.*", MASK, line) for line in others)]
    return "\n".join(lines) + value[len(value.rstrip()) :]


def _masked_by_lines(text: str) -> str:
    """Mask what looks like the value of such a name, in a text that no parser takes."""
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
            lines.append(_PAIR.sub(_pair, line))
    return "\n".join(lines)


def _pair(found: re.Match[str]) -> str:
    quote, key, colon, _ = found.groups()
    return f"{quote}{key}{quote}{colon}{MASK}" if is_secret(key) else found.group()


def without_addresses(text: str) -> str:
    """Return a sentence without paths and addresses of this server."""
    for place, name in _places():
        text = text.replace(f"{place}/", "").replace(place, name)
    text = _PATH.sub("…", _LOCAL_URL.sub("…", text))
    if "redis" in text.lower():
        text = _REDIS.sub(lambda found: f"{found[2]}…" if found[2] else "…", text)
    return text


def _places() -> Iterable[tuple[str, str]]:
    """Folders of this server, the deepest first, and what to call them."""
    from batchy_provider.hooks.deployment import cfg_folder

    folder = cfg_folder()
    named = {str(folder): "the folder of workflow files", str(folder.resolve()): "the folder of workflow files"}
    for option, what in (("results_url", "the result store"), ("bundle_cache", "the bundle cache")):
        if value := conf.get("batchy", option, fallback=""):
            named[value.rstrip("/")] = what
            if value.startswith("/"):
                named[Path(value).as_uri()] = what
    return sorted(named.items(), key=lambda each: -len(each[0]))


@dataclass(frozen=True, slots=True)
class Disclosure:
    """
    What one caller is told.

    :param caller: who asks.
    :param services: of this Airflow.
    """

    caller: Caller
    services: Services

    @property
    def sees_server(self) -> bool:
        """Whether the caller may know paths and addresses: Airflow's right to change its configuration."""
        return self.caller.may_configure()

    def names(self, workflows: Iterable[str]) -> list[str]:
        """Return those names that the caller may know."""
        return [name for name in workflows if self.caller.may("GET", name)]

    def text(self, text: str, *, own: Collection[str] = ()) -> str:
        """
        Return a sentence without names and places that are not for the caller.

        :param own: names in it that are not those of other workflows: the workflow's own, its jobs.
        """
        hidden = self._hidden(text, own)
        if hidden:
            text = _HINT.sub(lambda found: "" if found[1] in hidden else found.group(), text)
            for name in sorted(hidden, key=len, reverse=True):
                text = re.sub(rf"(?<![\w.\-]){re.escape(name)}(?![\w\-])", MASK, text)
        return text if self.sees_server else without_addresses(text)

    def _hidden(self, text: str, own: Collection[str]) -> set[str]:
        words = {each for word in _NAME.findall(text) for each in (word, word.strip("."), *_stems(word))}
        known = words & self.services.workflows.known_names() - {*own}
        return {name for name in known if not self.caller.may("GET", name)}

    def summary(self, found: S) -> S:
        """Show a workflow in a line."""
        own = (found.workflow, *found.jobs)
        more: dict[str, Any] = {}
        if (activity := getattr(found, "activity", None)) is not None:
            more["activity"] = replace(activity, waits_for=self.names(activity.waits_for))
        return replace(
            found,
            **more,
            run=self._maybe(found.run, own),
            waits_for=self.names(found.waits_for),
            waited_for_by=self.names(found.waited_for_by),
            holder=self._maybe(found.holder, own),
            schedule=self._maybe(found.schedule, own),
            progress={job: shown(report) for job, report in found.progress.items()},
        )

    def detail(self, found: WorkflowDetail) -> WorkflowDetail:
        """Show a workflow. Its file's text is exact for who may edit it, and only for who may read code."""
        name = found.summary.workflow
        own = (name, *found.fields)
        source = found.source
        if source is not None and not self.caller.may("GET", name, DagAccessEntity.CODE):
            source = None
        elif source is not None and not self.caller.may("PUT", name):
            source = self.text(without_secrets(source, is_json=(found.file or "").endswith(".json")), own=own)
        task = self.task
        return replace(
            found,
            summary=self.summary(found.summary),
            job_states=[self.job(state) for state in found.job_states],
            fields=shown_jobs(found.fields),
            changes=[self._change(each, own) for each in found.changes],
            source=source,
            faults=self.diagnostics(found.faults, own=own),
            graph={task(node): [task(other) for other in upstream] for node, upstream in found.graph.items()},
        )

    def _change(self, change: PersonalChange, own: Collection[str]) -> PersonalChange:
        by, what = self.text(change.by, own=own), self.text(change.what, own=own)
        return replace(change, by=by, what=what, why=self._maybe(change.why, own))

    def job(self, state: JobSummary) -> JobSummary:
        """Show a job."""
        progress = None if state.progress is None else shown(state.progress)
        return replace(state, params=shown(state.params), progress=progress, upstream=[*map(self.task, state.upstream)])

    def batch(self, found: BatchView) -> BatchView:
        """Show a batch."""
        own = (found.workflow, *found.jobs)
        return replace(
            found,
            jobs=shown_jobs(found.jobs),
            run=self._maybe(found.run, own),
            by=self._maybe(found.by, own),
            reason=self._maybe(found.reason, own),
            why=self._maybe(found.why, own),
            closed_by=self._maybe(found.closed_by, own),
            closed_why=self._maybe(found.closed_why, own),
        )

    def diagnostics(self, diagnostics: Iterable[Diagnostic], *, own: Collection[str] = ()) -> list[Diagnostic]:
        """Show what is wrong with a file."""
        return [self._diagnostic(diagnostic, own) for diagnostic in diagnostics]

    def _diagnostic(self, diagnostic: Diagnostic, own: Collection[str]) -> Diagnostic:
        message = diagnostic.message
        if any(is_secret(part) for part in re.split(r"[.\[\]]", diagnostic.key) if part):
            message = _QUOTED.sub(f"'{MASK}'", message)
        file = diagnostic.file if self.sees_server else without_addresses(diagnostic.file)
        return replace(diagnostic, file=file, message=self.text(message, own=(Path(diagnostic.file).stem, *own)))

    def _maybe(self, text: str | None, own: Collection[str]) -> str | None:
        return None if text is None else self.text(text, own=own)

    def task(self, task: str) -> str:
        """Name a task; one that waits for a workflow has its name."""
        if not task.startswith(WAIT_PREFIX) or self.caller.may("GET", task.removeprefix(WAIT_PREFIX)):
            return task
        return WAIT_PREFIX + MASK


def _stems(word: str) -> tuple[str, ...]:
    stem, dot, suffix = word.rpartition(".")
    return (stem,) if dot and suffix in ("yaml", "yml", "json") else ()


def disclosure(caller: AnyCaller, services: Deployment) -> Disclosure:
    """Return what the caller may see."""
    return Disclosure(caller, services)


Discloses = Annotated[Disclosure, Depends(disclosure)]
