# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Any file without Python classes: the DAG of the blueprint that was written down is the DAG of the file."""

from __future__ import annotations

import json
import zoneinfo
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from thoroughness import scaled

from batchy_provider.compat import serialize_dag
from batchy_provider.config.reader import Reader
from batchy_provider.dag_factory.blueprint import blueprint_of, decode, encode
from batchy_provider.dag_factory.build import build_dag

ZONES = st.sampled_from(sorted(zoneinfo.available_timezones() - {"localtime"}))
LETTERS = st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="{}%#")
TEXTS = st.text(LETTERS, min_size=1, max_size=9) | st.sampled_from(["\u2028é\u2029", "😀", "null", "\\u0000", "a b"])
NUMBERS = st.sampled_from([0, -1, 1.0, -0.0, 1e20, 5e-324, 2**53 + 1, 2**64, -(10**900), 0.1]) | st.integers()
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXTS, inner, max_size=2),
    max_leaves=5,
)
DURATIONS = st.sampled_from(["0.000001s", "0.25s", "90s", "1h30m", "1.333333d", "36500d"])
DATES = st.sampled_from(["2020-03-29T02:30:00", "20200101", "1900-01-01", "2020-10-25T02:30:00+05:30", "2020-W01-1"])
CRONS = st.sampled_from(["@daily", "30 2 * * *", "*/7 * * * *", "0 0 29 2 *", "30 14 * * mon-fri"])
OTHERS = st.lists(st.sampled_from(["crm", "erp.x", "web"]), min_size=1, unique=True)
COUNTS, FLAGS = st.integers(1, 1_000_000), st.booleans()


def some(**keys: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=keys)


LIMITS = some(cpu=DURATIONS, memory=st.sampled_from(["1.5k", "2G", 2**62]), open_files=st.integers(8, 99))
VARIABLES = st.dictionaries(st.sampled_from(["A", "B_1", "Z"]), TEXTS | st.integers(), max_size=2)
SETTINGS: dict[str, st.SearchStrategy[Any]] = {
    "retries": COUNTS,
    **dict.fromkeys(
        ("retry_delay", "max_retry_delay", "timeout", "kill_grace", "background_timeout"),
        DURATIONS,
    ),
    **dict.fromkeys(("retry_backoff", "inherit_env", "trunc_start"), FLAGS),
    **dict.fromkeys(("pool", "queue", "owner"), TEXTS),
    "priority": st.integers(-9, 9),
    "limits": LIMITS,
    "env": VARIABLES,
    "reprocess_hours": st.sampled_from([0, 2, 2.0, 1e-9, 0.5]),
    "initial_date": DATES,
}
JOBS = some(
    **SETTINGS,
    enabled=FLAGS,
    doc=TEXTS,
    params=st.dictionaries(TEXTS, VALUES, max_size=3),
    args=st.lists(TEXTS | st.just("{{ ds }}"), max_size=2),
    inputs=st.just("s3://b/{{ ds }}"),
    when=st.sampled_from(["succeeded", "done"]),
)
AFTER = st.fixed_dictionaries(
    {"after": OTHERS},
    optional={"any": FLAGS, "outside": FLAGS, "result": st.sampled_from(["success", "failed", "closed"])},
)
SCHEDULES = (
    CRONS
    | st.lists(CRONS, min_size=1, max_size=3)
    | st.just("@once")
    | AFTER
    | st.builds(lambda after, cron: {**after, "cron": cron}, AFTER, CRONS)
)
WAITS = st.fixed_dictionaries(
    {"workflow": st.just("dwh")},
    optional={
        "jobs": OTHERS,
        "scope": st.sampled_from(["today", "since_last_run", "any", "due", {"within": "0.000001s"}]),
        "timeout": DURATIONS,
        "on_failed": st.sampled_from(["wait", "fail"]),
        "timezone": ZONES,
    },
)
WORKFLOWS = st.fixed_dictionaries(
    {
        "jobs": st.lists(JOBS, min_size=1, max_size=3).map(
            lambda jobs: (
                {f"job_{number}": {"bash": "cat", **job} for number, job in enumerate(jobs)}
                | {"tell": {"bash": "echo", "when": "failed", "params": {"n": 1.0}}}
            )
        )
    },
    optional={
        "description": TEXTS,
        "doc": TEXTS,
        "schedule": SCHEDULES,
        "timezone": ZONES,
        "start_date": DATES,
        "end_date": st.sampled_from(["2030-03-31T02:30:00", "9000-01-01"]),
        "max_active_runs": COUNTS,
        "max_active_jobs": COUNTS,
        "run_timeout": DURATIONS,
        "wait_for": WAITS | st.just("web"),
        "defaults": some(**SETTINGS),
        "tags": st.lists(TEXTS, max_size=3),
        "owner": TEXTS,
        "if_open": st.sampled_from(["fail", "wait", "take_over"]),
        "window": some(
            until=st.sampled_from(["now", {"workflows": ["b", "a"]}]), delay=DURATIONS, align=st.just("@daily")
        ),
        "connection": TEXTS,
        "paused": FLAGS,
        "infa": some(folder=st.just("F"), dates=st.just("iso")),
    },
)


def contents(value: Any, inside: tuple[int, ...] = ()) -> Any:
    """All that an object holds, with the types: 1, 1.0 and True differ, and so do a list and a tuple."""
    if isinstance(value, tzinfo):
        return str(value)
    if value is None or isinstance(value, bool | int | float | str | type | timedelta):
        return type(value).__name__, repr(value)
    if isinstance(value, datetime):
        return value.isoformat(), str(value.tzinfo)
    if id(value) in inside:
        return "a cycle", len(inside) - inside.index(id(value))
    if callable(value) and hasattr(value, "__qualname__"):
        return value.__qualname__
    if hasattr(value, "dag_id") and inside:  # each task knows its DAG
        return value.dag_id
    inside = (*inside, id(value))
    if isinstance(value, dict):
        return type(value).__name__, [(key, contents(item, inside)) for key, item in value.items()]
    if isinstance(value, list | tuple):
        return type(value).__name__, [contents(item, inside) for item in value]
    if isinstance(value, set | frozenset):
        return type(value).__name__, sorted(str(contents(item, inside)) for item in value)
    slots = {name for each in type(value).__mro__ for name in getattr(each, "__slots__", ()) if hasattr(value, name)}
    found = {name: getattr(value, name) for name in slots - {"__weakref__", "__dict__"}} | getattr(
        value, "__dict__", {}
    )
    return type(value).__name__, [(name, contents(found[name], inside)) for name in sorted(found) if name != "logger"]


@given(WORKFLOWS)
@example({"jobs": {"a": {"bash": "x", "params": {"": [1, 1.0, True, None, -0.0, {"1": "é"}]}}}})
@settings(max_examples=scaled(60))
def test_the_dag_is_the_same_after_its_blueprint_was_written_down(workflow: dict[str, Any]) -> None:
    read, diagnostics = Reader("cfg").read_text(Path("cfg/any.json"), json.dumps(workflow))
    if read is None:  # some keys exclude each other
        assert diagnostics
        return
    blueprint = blueprint_of(read)
    text = encode(blueprint)
    assert text is not None
    first, later = build_dag(blueprint), build_dag(decode(blueprint.path, text))
    assert json.dumps(serialize_dag(later)) == json.dumps(serialize_dag(first))
    assert contents(first) == contents(later)
    assert [contents(vars(task)) for task in first.tasks] == [contents(vars(task)) for task in later.tasks]


def test_contents_tell_values_apart() -> None:
    different = [1, 1.0, True, "1", None, [1], (1,), {"1": 1}, {"1": 1.0}, timedelta(1), datetime(2026, 1, 1)]
    assert len({str(contents(each)) for each in different}) == len(different)
