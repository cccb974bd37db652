# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Draw the graph of a workflow's DAG as text, DOT or SVG, without Airflow or Graphviz."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape

from batchy_provider.config.job_name_checks import WAIT_PREFIX
from batchy_provider.config.model import WorkflowModel
from batchy_provider.config.run_checks import day_rule, same_day_workflows
from batchy_provider.config.schedule_model import After, CronSchedule
from batchy_provider.config.workflow import Workflow
from batchy_provider.core.schedule_words import days_text
from batchy_provider.core.schedules import Move
from batchy_provider.exceptions import ConfigError

OPEN, CLOSE = "open", "close"

_COLOURS = {"frame": "#e8f0fe", "wait": "#fef7e0", "job": "#ffffff", "handler": "#fce8e6", "disabled": "#eeeeee"}
_WIDTH, _HEIGHT, _GAP_X, _GAP_Y, _MARGIN = 150, 34, 50, 16, 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One task.

    :param kind: ``frame`` (open, close), ``wait``, ``job``, ``handler`` or ``disabled``.
    :param upstream: the tasks that it follows, in order.
    :param note: when it runs and what it reads, where that is not the usual; or empty.
    """

    kind: str
    upstream: tuple[str, ...] = ()
    note: str = ""


def graph_of(workflow: Workflow) -> dict[str, Node]:
    """Return the tasks of a workflow's DAG, each after those that it follows.

    :raises ConfigError: if it is a file in the original's form, which makes no DAG.
    """
    model, order = workflow.model, workflow.order
    if model is None or order is None:
        raise ConfigError(f"{workflow.path} is a file of the original Batchy: state without a DAG")
    waits = {WAIT_PREFIX + wait.workflow: Node(kind="wait") for wait in model.wait_for}
    waits |= {WAIT_PREFIX + other: Node(kind="wait", note="on the same day") for other in same_day_workflows(model)}
    nodes = {**waits, OPEN: Node(kind="frame", upstream=tuple(waits))}
    left = dict(order.upstream)
    while left:  # in the file, a job may be above the jobs that it follows
        for name in [name for name, upstream in left.items() if not left.keys() & set(upstream)]:
            nodes[name] = _node(model, name, left.pop(name) or (OPEN,), order.inputs.get(name))
    return {**nodes, CLOSE: Node(kind="frame", upstream=tuple(order.must_meet_close))}


def _node(model: WorkflowModel, name: str, upstream: tuple[str, ...], source: str | None) -> Node:
    job = model.jobs[name]
    notes = []
    if not job.enabled:
        notes.append("disabled")
    if job.is_handler:
        notes.append("if one failed")
    elif job.independent or job.when == "done":
        notes.append("whatever their result" if len(upstream) > 1 else "whatever its result")
    if source is not None:
        notes.append(f"reads {source}")
    if job.for_each is not None:
        notes.append(f"{len(job.for_each)} times" if isinstance(job.for_each, list) else "for each entry")
    kind = "handler" if job.is_handler else "job" if job.enabled else "disabled"
    return Node(kind=kind, upstream=upstream, note=", ".join(notes))


def schedule_text(model: WorkflowModel) -> str:
    """Say when a workflow runs, in a line."""
    match model.schedule:
        case None:
            return "by hand"
        case CronSchedule() as schedule:
            return _cron_text(schedule, model.timezone)
        case After(after=workflows, any=is_any) as after:
            what = {"success": "", "failed": "the failure of ", "closed": "the end of "}[after.result]
            on_the_day = " on the same day" if after.same_day else ""
            return f"after {what}{(' or ' if is_any else ' and ').join(workflows)}{on_the_day}"
        case str(cron):
            return cron if cron.startswith("@o") or cron == "@continuous" else f"{cron} {model.timezone}"
        case crons:
            return f"{' | '.join(crons)} {model.timezone}"


def _cron_text(schedule: CronSchedule, timezone: str) -> str:
    parts = [f"{' | '.join(schedule.crons)} {timezone}"]
    if schedule.calendar is not None:
        rule = None if schedule.on is None else day_rule(schedule.on)
        parts.append(days_text(schedule.calendar, rule, Move(schedule.move or "skip")))
    if schedule.after:
        parts.append(f"or after {(' or ' if schedule.any else ' and ').join(schedule.after)}")
    return ", ".join(parts)


def as_text(workflow: Workflow) -> str:
    """Write a line for each task: what it follows, and when it runs."""
    nodes = graph_of(workflow)
    assert workflow.model is not None
    width = max(map(len, nodes))
    lines = [f"{workflow.name} ({schedule_text(workflow.model)})"]
    for name, node in nodes.items():
        arrow = f"← {', '.join(node.upstream)}" if node.upstream else ""
        note = f"   ({node.note})" if node.note else ""
        lines.append(f"  {name:{width}}  {arrow}{note}".rstrip())
    return "\n".join(lines) + "\n"


def as_dot(workflow: Workflow) -> str:
    """Write the graph for Graphviz."""
    lines = [
        f'digraph "{workflow.name}" {{',
        "  rankdir=LR;",
        '  node [shape=box, style="rounded,filled", fontname="sans-serif", fillcolor="#ffffff"];',
    ]
    nodes = graph_of(workflow)
    for name, node in nodes.items():
        label = f"{name}\\n{node.note}" if node.note else name
        lines.append(f'  "{name}" [label="{label}", fillcolor="{_COLOURS[node.kind]}"];')
    for name, node in nodes.items():
        lines += [f'  "{other}" -> "{name}"{_style(node)};' for other in node.upstream]
    return "\n".join([*lines, "}"]) + "\n"


def _style(node: Node) -> str:
    return " [style=dashed]" if node.kind == "handler" else ""


def as_svg(workflow: Workflow) -> str:
    """Draw the graph, left to right, each task right of all that it follows."""
    nodes = graph_of(workflow)
    places = _places(nodes)
    longest = max(*map(len, nodes), *(len(node.note) for node in nodes.values()))
    box = max(_WIDTH, 8 * longest + 20)
    corners = {
        name: (_MARGIN + column * (box + _GAP_X), _MARGIN + row * (_HEIGHT + _GAP_Y))
        for name, (column, row) in places.items()
    }
    width = max(x for x, _ in corners.values()) + box + _MARGIN
    height = max(y for _, y in corners.values()) + _HEIGHT + _MARGIN
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="13" text-anchor="middle">',
        f"  <title>{escape(workflow.name)}</title>",
        '  <defs><marker id="a" markerWidth="8" markerHeight="8" refX="7" refY="4" orient="auto">'
        '<path d="M0,0 L8,4 L0,8 z" fill="#5f6368"/></marker></defs>',
    ]
    for name, node in nodes.items():
        for other in node.upstream:
            (x1, y1), (x2, y2) = corners[other], corners[name]
            x1, y1, y2 = x1 + box, y1 + _HEIGHT // 2, y2 + _HEIGHT // 2
            bend = (x1 + x2) // 2 if x2 - x1 <= _GAP_X else x2 - _GAP_X // 2
            dashes = ' stroke-dasharray="4 3"' if node.kind == "handler" else ""
            curve = f"M{x1},{y1} C{bend},{y1} {bend},{y2} {x2},{y2}"
            lines.append(f'  <path d="{curve}" fill="none" stroke="#5f6368"{dashes} marker-end="url(#a)"/>')
    for name, node in nodes.items():
        x, y = corners[name]
        shape = f'x="{x}" y="{y}" width="{box}" height="{_HEIGHT}" rx="6"'
        lines.append(f'  <rect {shape} fill="{_COLOURS[node.kind]}" stroke="#5f6368"/>')
        middle, base = x + box // 2, y + _HEIGHT // 2 + (-2 if node.note else 5)
        lines.append(f'  <text x="{middle}" y="{base}" fill="#202124">{escape(name)}</text>')
        if node.note:
            note = f'x="{middle}" y="{base + 14}" font-size="11" fill="#5f6368"'
            lines.append(f"  <text {note}>{escape(node.note)}</text>")
    return "\n".join([*lines, "</svg>"]) + "\n"


def _places(nodes: Mapping[str, Node]) -> dict[str, tuple[int, int]]:
    """Return column and row of each task."""
    columns: dict[str, int] = {}
    for name, node in nodes.items():
        columns[name] = 1 + max((columns[other] for other in node.upstream), default=-1)
    reach = {other: columns[name] for name, node in nodes.items() for other in node.upstream}
    for name, node in nodes.items():
        for other in node.upstream:
            reach[other] = max(reach[other], columns[name])
    taken: dict[int, set[int]] = {}
    places: dict[str, tuple[int, int]] = {}
    for name in sorted(nodes, key=lambda name: columns[name]):
        column = columns[name]
        row = min((places[other][1] for other in nodes[name].upstream), default=0)
        while row in taken.setdefault(column, set()):
            row += 1
        # An arrow that passes other columns needs its row there, or it would seem to end at another task.
        for passed in range(column, max(column + 1, reach.get(name, 0))):
            taken.setdefault(passed, set()).add(row)
        places[name] = column, row
    return places
