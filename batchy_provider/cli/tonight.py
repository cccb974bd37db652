# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""``batchy tonight``: show the actual and the expected runs of a night, those with problems first."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from batchy_provider.cli.context import EXIT_OK, Commands, Context, add_command
from batchy_provider.cli.output import styled
from batchy_provider.cli.styled_text import StyledText

if TYPE_CHECKING:
    from batchy_provider.services.timeline_views import Timeline, TimelineBandView, TimelineRowView, TimelineRunView

_HEADINGS = (
    "workflow",
    "problems",
    "state",
    "due",
    "start",
    "end (P50)",
    "end (P90)",
    "deadline",
    "missed",
    "waits for",
)


def add_commands(commands: Commands) -> None:
    """Add this group's commands to the parser."""
    parser = add_command(
        commands,
        "tonight",
        show_tonight,
        "show the actual and the expected runs of a night, those with problems first",
        "batchy tonight\nbatchy tonight --problems\nbatchy tonight --from 2026-11-28T18:00 --to 2026-11-29T12:00\n"
        "batchy -o json tonight sales",
    )
    parser.add_argument("workflows", nargs="*", metavar="workflow", help="which (default: all)")
    parser.add_argument(
        "--from",
        dest="from_date",
        metavar="DATE",
        help="from this moment on, inclusive (ISO 8601; default: yesterday, 18:00)",
    )
    parser.add_argument(
        "--to", dest="to_date", metavar="DATE", help="up to this moment, exclusive (default: tomorrow, 12:00)"
    )
    parser.add_argument(
        "--timezone", default="UTC", metavar="NAME", help="of the times, such as Europe/Berlin (default: UTC)"
    )
    parser.add_argument("--search", metavar="TEXT", help="only workflows with this in name, description, owner or tags")
    parser.add_argument("--problems", action="store_true", help="only workflows with problems")


def show_tonight(context: Context, arguments: argparse.Namespace) -> int:
    """Show the runs of a night."""
    service = context.redis_services.tonight
    span = service.span(arguments.from_date, arguments.to_date, timezone=arguments.timezone)
    found = service.show(
        span, workflows=arguments.workflows, search=arguments.search, problems=arguments.problems, must_exist=True
    )
    if not context.output.is_table:
        context.output.data(asdict(found))
        return EXIT_OK
    clock = _Clock(arguments.timezone)
    rows = [line for row in found.items for line in _lines(row, clock)]
    context.output.table(_HEADINGS, rows)
    context.output.hint(_summary(found, clock, len(rows)))
    return EXIT_OK


class _Clock:
    """Write moments in the timezone of the viewer."""

    def __init__(self, name: str) -> None:
        from batchy_provider.core.dates import zone

        self.name = name
        self._place = zone(name)

    def text(self, moment: str | None) -> str | None:
        if moment is None:
            return None
        local = datetime.fromisoformat(moment).replace(tzinfo=timezone.utc).astimezone(self._place)
        return f"{local:%m-%d %H:%M}"

    def long_text(self, moment: str) -> str:
        local = datetime.fromisoformat(moment).replace(tzinfo=timezone.utc).astimezone(self._place)
        return f"{local.replace(microsecond=0).isoformat(' ')}"


def _lines(row: TimelineRowView, clock: _Clock) -> list[list[str | StyledText | None]]:
    """Return the lines of a workflow by time; the first has its name and problems."""
    parts: list[TimelineRunView | TimelineBandView] = [*row.runs, *row.bands]
    parts.sort(key=lambda part: part.start or getattr(part, "due", None) or "9")
    lines = [_line(part, clock) for part in parts] or [[styled(row.status), *[None] * 7]]
    problems = ", ".join(problem.replace("_", " ") for problem in row.problems) or None
    return [[row.workflow, None if at else problems, *line] for at, line in enumerate(lines)]


def _line(part: TimelineRunView | TimelineBandView, clock: _Clock) -> list[str | StyledText | None]:
    from batchy_provider.services.timeline_views import TimelineBandView

    if isinstance(part, TimelineBandView):
        return [f"{part.count} runs, {part.state}", None, clock.text(part.start), clock.text(part.end), *[None] * 4]
    is_over = part.state in ("success", "failed")
    unknown = None if is_over else "unknown"
    missed = None if part.deadline is None else "missed" if part.missed else "met"
    if part.deadline is not None and part.missed is None:
        missed = "unknown" if part.miss_probability is None else f"{part.miss_probability:.0%}"
    return [
        styled(part.state),
        clock.text(part.due),
        clock.text(part.start) or unknown,
        clock.text(part.end or part.end_p50) or unknown,
        clock.text(part.end_p90) or unknown,
        clock.text(part.deadline),
        missed,
        ", ".join(part.waits_for),
    ]


def _summary(found: Timeline, clock: _Clock, lines: int) -> str:
    span = f"{clock.long_text(found.from_date)} to {clock.long_text(found.to_date)} ({clock.name})"
    if not lines:
        return f"No workflow{' has problems' if found.counts['all'] else ''} from {span}."
    cut = f" The first {len(found.items)} of {found.total} are shown." if len(found.items) < found.total else ""
    return f"{found.counts['problems']} of {found.counts['all']} workflows have problems, from {span}.{cut}"
