# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Any document: nothing is raised, the good file beside it stays, and what is accepted can be built and stored."""

from __future__ import annotations

import copy
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from hostile_values import FULL, HOSTILE
from hypothesis import example, given, settings
from hypothesis import strategies as st
from thoroughness import scaled

from batchy_provider.compat import serialize_dag
from batchy_provider.config.catalog import Catalog
from batchy_provider.config.inspection import inspect_folder
from batchy_provider.config.reader import read_folder
from batchy_provider.dag_factory import build_dags

GOOD = "jobs: {a: {bash: echo}}\n"


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from _paths(inner, (*path, key))


_deep: Any = "x"
for _ in range(60):
    _deep = [_deep]
_values = st.sampled_from([*HOSTILE, _deep]) | st.text() | st.integers() | st.floats()
_changes = st.lists(
    st.tuples(st.sampled_from(list(_paths(FULL))), _values, st.sampled_from(["value", "key", "gone"])),
    min_size=1,
    max_size=3,
)


def _changed(changes: list[tuple[tuple[Any, ...], Any, str]], *, classes: bool = True) -> Any:
    document: Any = copy.deepcopy(FULL)
    if not classes:  # then a file that is accepted must be built: nothing is left that only Airflow can check
        del document["on_failure"], document["deadline"], document["jobs"]["check"]
        del document["jobs"]["extract"]["on_failure"]
    document["jobs"]["load"] = {"bash": "echo", "after": ["extract"]}  # valid, unless a change makes it otherwise
    for path, value, how in changes:
        place = document
        try:
            for part in path[:-1]:
                place = place[part]
            old = place.pop(path[-1])
            if how == "value":
                place.insert(path[-1], value) if isinstance(place, list) else place.__setitem__(path[-1], value)
            elif how == "key":
                place[str(value)] = old
        except (LookupError, TypeError, AttributeError):  # an earlier change took the place away
            continue
    return document


def _check(raw: bytes, suffix: str) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        cfg = Path(scratch)
        (cfg / "good.yaml").write_text(GOOD)
        victim = cfg / f"a_victim{suffix}"
        victim.write_bytes(raw)
        found = read_folder(cfg)
        assert "good" in found.workflows
        again = Catalog(cfg).read()
        assert (again.workflows.keys(), again.diagnostics) == (found.workflows.keys(), found.diagnostics)
        diagnostics = inspect_folder(cfg)
        for diagnostic in diagnostics:
            assert diagnostic.file == str(victim)
            assert diagnostic.line is None or diagnostic.line >= 1
            f"{diagnostic}".encode()
        dags, of_build = build_dags(cfg)
        assert "good" in dags
        assert {diagnostic.file for diagnostic in of_build} <= {str(victim)}
        workflow = found.workflows.get("a_victim")
        assert (workflow is None) == bool(found.diagnostics)
        if workflow is None:
            return
        json.dumps(workflow.config().jobs, allow_nan=False).encode()
        if workflow.uses_classes and of_build:  # only Airflow can check these, and it did
            return
        assert of_build == []
        if not workflow.has_dag:
            return
        data = serialize_dag(dags["a_victim"])
        msgspec.msgpack.encode(data)
        text = json.dumps(data, allow_nan=False)
        assert "\\u0000" not in text.replace("\\\\", "")
        from airflow.serialization import serialized_objects

        cls: Any = getattr(serialized_objects, "DagSerialization", None) or serialized_objects.SerializedDAG
        assert cls.from_dict(json.loads(text)).dag_id == "a_victim"


_settings = settings(max_examples=scaled(40))


def test_the_document_with_every_key_is_valid_without_its_bundle():
    document = _changed([])
    with tempfile.TemporaryDirectory() as scratch:
        cfg = Path(scratch)
        (cfg / "good.yaml").write_text(GOOD)
        (cfg / "a_victim.json").write_text(json.dumps(document))
        assert [str(diagnostic) for diagnostic in inspect_folder(cfg)] == []
    _check(json.dumps(document).encode(), ".json")


@pytest.mark.slow
@given(_changes, st.sampled_from([".json", ".yaml"]), st.booleans())
@example([(("description",), "nul \0 x", "value")], ".yaml", False)
@example([(("description",), "x \ud800 y", "value")], ".json", False)
@example([(("run_params", "rows", "default"), 2**70, "value")], ".json", False)
@example([(("run_params", "rows", "default"), 77, "value")], ".json", False)
@example([(("jobs", "extract", "timeout"), "9" * 40 + "h", "value")], ".json", False)
@example([(("run_timeout",), "99999999d", "value")], ".json", False)
@example([(("defaults", "limits", "memory"), "9" * 5000 + "G", "value")], ".json", False)
@example([(("jobs", "load", "bash"), "x", "gone"), (("jobs", "load", "bundle"), "x" * 300, "value")], ".json", False)
@example([(("initial_date",), "0001-01-01", "value")], ".json", False)
@example([(("end_date",), "9999-12-31T23:59:59.999999-12:00", "value")], ".json", False)
@_settings
def test_hostile_values_at_every_key(changes: list[tuple[tuple[Any, ...], Any, str]], suffix: str, classes: bool):
    document = _changed(changes, classes=classes)
    if suffix == ".json":
        raw = json.dumps(document).encode()
    else:
        raw = yaml.safe_dump(document, sort_keys=False).encode(errors="surrogatepass")
    _check(raw, suffix)


_SAMPLES = [json.dumps(FULL), yaml.safe_dump(FULL, sort_keys=False), GOOD, "a: {b: 1}\n", "x-a: &a [1]\njobs: *a\n"]
_PIECES = st.sampled_from(
    [
        "\x00",
        "�",
        "\ufeff",
        "\t",
        "\r",
        "---\n",
        "...\n",
        "&a ",
        "*a",
        "<<: *a\n",
        "!!binary ",
        "!!python/none ",
        "? ",
        "- ",
        "[",
        "]",
        "{",
        "}",
        ": ",
        "#",
        "|\n",
        ">\n",
        '"',
        "'",
        "%YAML 9.9\n",
        "\\u0000",
        "\\ud800",
        "1:59" * 300,
    ]
)


@given(
    st.sampled_from(_SAMPLES),
    st.lists(st.tuples(st.integers(0, 3000), _PIECES | st.text(max_size=5) | st.integers(1, 200)), max_size=5),
    st.sampled_from([".json", ".yaml"]),
)
@_settings
def test_hostile_texts(text: str, edits: list[tuple[int, str | int]], suffix: str):
    for at, edit in edits:
        place = at % (len(text) + 1)
        text = text[:place] + (text[place + edit :] if isinstance(edit, int) else edit + text[place:])
    _check(text.encode(errors="surrogatepass"), suffix)


@given(st.binary(max_size=200), st.sampled_from([".json", ".yaml"]))
@_settings
def test_any_bytes(raw: bytes, suffix: str):
    _check(raw, suffix)
