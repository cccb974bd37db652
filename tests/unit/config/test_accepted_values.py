# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""What a file says is what a script receives, character by character, or it is a diagnostic."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from batchy_provider.bundles.script_environment import build_environment
from batchy_provider.config.document import DocumentError, parse
from batchy_provider.config.key_checks import item_text
from batchy_provider.config.reader import Reader
from batchy_provider.config.workflow import Workflow, environment

FILE = Path("cfg/sales.yaml")
WORDS = "yes Yes NO no on OFF off y n true True TRUE ~ null Null .inf .nan = 0o17 0b1 1e3 1.0e+3 2026-01-01 1:30.5 <<"
LIKE_A_VALUE = st.one_of(
    st.from_regex(r"[-+]?[0-9]{1,4}[:._,eExXobTZ-]?[0-9a-fA-F_:.]{0,5}", fullmatch=True),
    st.sampled_from(tuple(WORDS.split())),
    st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=6),
)


def read(text: str) -> tuple[Workflow | None, list[str]]:
    workflow, diagnostics = Reader("cfg").read_text(FILE, text)
    return workflow, [diagnostic.message for diagnostic in diagnostics]


def is_one_plain_scalar(written: str) -> bool:
    """Tell whether YAML takes a text for a value that is written without quotes."""
    if written[:1] in "\"'&*!" or "#" in written or written != written.strip():
        return False
    try:
        value, end = parse(f"[{written}, 1]").data
        return re.sub(r"\s+", "", written) == written and not isinstance(value, dict | list) and end == 1
    except (DocumentError, ValueError):
        return False


@given(written=LIKE_A_VALUE.filter(is_one_plain_scalar))
@example(written="0022")
@example(written="12:30")
@example(written="08")
@example(written="1.10")
@example(written="no")
def test_a_variable_is_what_is_written_or_an_error_that_says_how_to_write_it(written: str) -> None:
    workflow, diagnostics = read(f"jobs: {{a: {{bash: x, env: {{X: {written}, Y: 1}}}}}}\n")
    if workflow is None:
        quoted = json.dumps(written)
        assert (
            any(f"in quotes: {quoted}" in diagnostic for diagnostic in diagnostics)
            or written in ("~", "null", "Null", "NULL", "")
            or "if it is text" in diagnostics[0]
            or "template" in diagnostics[0]
        )
        workflow, diagnostics = read(f"jobs: {{a: {{bash: x, env: {{X: {quoted}, Y: 1}}}}}}\n")
        if any("template" in diagnostic for diagnostic in diagnostics):
            return
    assert workflow is not None, diagnostics
    assert workflow.model is not None
    env = build_environment({}, env=environment(workflow.model.jobs["a"], workflow.model), worker={})
    assert (env["X"], env["Y"]) == (written, "1")


@given(written=st.lists(LIKE_A_VALUE.filter(is_one_plain_scalar), min_size=1, max_size=4, unique=True))
@example(written=["01", "02", "08"])
def test_an_entry_is_what_is_written_or_an_error(written: list[str]) -> None:
    workflow, _ = read(f"jobs: {{a: {{bash: x, for_each: [{', '.join(written)}]}}}}\n")
    if workflow is not None:
        assert workflow.model is not None
        items = workflow.model.jobs["a"].for_each
        assert isinstance(items, list)
        assert [item_text(item) for item in items] == written


def test_a_process_receives_it() -> None:
    env = {
        "UMASK": "0022",
        "AT": "12:30",
        "EMPTY": "",
        "LINES": "a\nb\n",
        "UNICODE": "é\U0001f600",
        "QUOTES": "\"'$`\\",
    }
    written = json.dumps({**env, "PORT": 8080}, ensure_ascii=False)
    workflow, diagnostics = read(f"jobs: {{a: {{bash: x, env: {written}}}}}\n")
    assert workflow is not None, diagnostics
    assert workflow.model is not None
    given = build_environment(
        {}, env=environment(workflow.model.jobs["a"], workflow.model), worker={"PATH": "/usr/bin:/bin"}
    )
    done = subprocess.run(["env", "-0"], env=given, capture_output=True, check=True)
    received = dict(line.split("=", 1) for line in done.stdout.decode().split("\0") if line)
    assert {name: received[name] for name in env} == env
    assert received["PORT"] == "8080"


def test_a_wrong_value_that_files_inherit_is_an_error_of_that_file_alone(tmp_path: Path) -> None:
    defaults = 'defaults: {env: {UMASK: 0022, BATCHY_X: "1", OK: "1"}, retries: 2}\ninitial_date: 9998-01-01\n'
    (tmp_path / "_defaults.yaml").write_text(defaults)
    (tmp_path / "sales.yaml").write_text("jobs: {a: {bash: x}}\n")
    reader = Reader(tmp_path)
    workflow, diagnostics = reader.read(tmp_path / "sales.yaml")
    assert not diagnostics
    assert workflow is not None
    assert workflow.model is not None
    assert workflow.model.defaults.env == {"OK": "1"}
    assert [(diagnostic.line, diagnostic.key) for diagnostic in reader.defaults_diagnostics] == [
        (1, "defaults.env.UMASK"),
        (1, "defaults.env.BATCHY_X"),
        (2, "initial_date"),
    ]


def test_a_file_of_the_original_is_read_as_the_original_read_it() -> None:
    workflow, _ = read("extract: {zip: 01234, region: no}\n")
    assert workflow is not None
    assert workflow.original == {"extract": {"zip": 668, "region": False}}


def test_what_is_scheduled_only_from_a_future_date_on_may_be_written_before() -> None:
    file = "start_date: {}\ninitial_date: 9998-06-01\njobs: {{a: {{bash: x}}}}\n"
    assert not read(file.format("9998-06-01"))[1]
    assert read(file.format("9998-05-31"))[1]


@pytest.mark.parametrize("names", ["filters", "context", "extensions"])
def test_templates_are_parsed_as_airflow_renders_them(names: str) -> None:
    from airflow.sdk.definitions._internal import templater

    from batchy_provider.config import jinja
    from batchy_provider.dag_factory.templates import EXTENSIONS, TemplateBatch

    if names == "filters":
        assert set(templater.FILTERS) == set(jinja.FILTERS)
    elif names == "context":
        from airflow.sdk.definitions.context import KNOWN_CONTEXT_KEYS

        assert not KNOWN_CONTEXT_KEYS - jinja.NAMES
        assert tuple(TemplateBatch.__dataclass_fields__) == jinja.BATCH
    else:
        assert EXTENSIONS[:1] == ["jinja2.ext.do"]
