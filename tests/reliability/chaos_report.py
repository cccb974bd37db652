# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The counts of nights of chaos, as JSON and as a table: ``python chaos_report.py report.json``."""

from __future__ import annotations

import json
import sys
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass
class Report:
    """The counts of all nights."""

    nights: int = 0
    seed: int = 0
    seconds: int = 0
    schedulers: int = 1
    kills: dict[str, int] = field(default_factory=dict)
    runs: dict[str, int] = field(default_factory=dict)
    failed_batches: int = 0
    windows: int = 0
    loads: int = 0
    rows: int = 0
    lost: int = 0
    doubled: int = 0
    gaps: list[str] = field(default_factory=list)
    overlaps: list[str] = field(default_factory=list)
    read_ahead: list[str] = field(default_factory=list)
    slices: int = 0
    hung_waits: list[str] = field(default_factory=list)
    stuck_runs: list[str] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)
    mistakes: list[str] = field(default_factory=list)
    longest_recovery: str = ""
    durations: dict[str, dict[str, list[list[float]]]] = field(default_factory=dict)
    """Workflow → job → its latest successes: when each began (Unix seconds), and seconds of it and of its window."""

    def faults(self) -> list[str]:
        """Return each count that must be zero and is not."""
        counts = [f"{name}: {getattr(self, name)}" for name in ("lost", "doubled") if getattr(self, name)]
        lists = ("gaps", "overlaps", "read_ahead", "hung_waits", "stuck_runs", "orphans", "mistakes")
        return counts + [f"{name}: {text}" for name in lists for text in getattr(self, name)]


def save(report: Report, file: Path) -> None:
    """Replace a file with the report as JSON, in one step."""
    new = file.with_suffix(".new")
    new.write_text(json.dumps(asdict(report), indent=1))
    new.replace(file)


def table(report: Report) -> str:
    """Return the counts as a Markdown table."""
    kills = Counter(report.kills)
    rows: list[tuple[str, object]] = [
        ("nights", report.nights),
        ("seed, schedulers", f"{report.seed}, {report.schedulers}"),
        ("time", f"{report.seconds // 60} min"),
        ("runs that succeeded", report.runs.get("success", 0)),
        ("runs that failed, and were made up for by a later one", report.runs.get("failed", 0)),
        ("kills", sum(kills.values())),
        *((f"— of {kind}", count) for kind, count in kills.most_common()),
        ("batches that failed", report.failed_batches),
        ("windows loaded", report.windows),
        ("loads that scripts committed", report.loads),
        ("gaps and overlaps between windows", len(report.gaps)),
        ("windows that are one piece of a longer one", report.slices),
        ("windows that went beyond what their source had loaded", len(report.read_ahead)),
        ("rows in the tables", f"{report.rows:,}"),
        ("**rows lost**", f"**{report.lost}**"),
        ("**rows doubled**", f"**{report.doubled}**"),
        ("scripts of one job at the same time", len(report.overlaps)),
        ("hung waits", len(report.hung_waits)),
        ("runs left running or queued", len(report.stuck_runs)),
        ("scripts left behind", len(report.orphans)),
        ("longest recovery of a window", report.longest_recovery or "none was needed"),
    ]
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)])


if __name__ == "__main__":
    print(table(Report(**json.loads(Path(sys.argv[1]).read_text()))))
