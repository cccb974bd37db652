# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Whatever the check of values lets pass, Airflow's own serialization takes and gives back unchanged."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from airflow.providers.common.compat.sdk import AirflowException
from airflow.sdk.execution_time.comms import SetXCom, ToSupervisor, _RequestFrame
from bundle_tasks import FakeTaskInstance
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import JsonValue, TypeAdapter
from thoroughness import scaled

from batchy_provider.bundles.storable_values import DEPTH, parse_value, storage_problem
from batchy_provider.operators.bundle import BashBundleOperator

try:
    from airflow.sdk.serde import deserialize, serialize
except ImportError:  # Airflow 3.1
    from airflow.serialization.serde import deserialize, serialize

SUPERVISOR: Any = TypeAdapter(ToSupervisor)
SERVER: Any = TypeAdapter(JsonValue)


def through_airflow(value: Any) -> Any:
    """Task → supervisor (MessagePack) → API server (JSON) → database and back, by Airflow's own classes."""
    pushed = SetXCom(key="k", value=serialize(value), dag_id="d", run_id="r", task_id="t", map_index=-1)
    frame = _RequestFrame(id=1, body=pushed.model_dump()).as_bytes()
    received = SUPERVISOR.validate_python(msgspec.msgpack.decode(frame[4:])[1])
    stored = SERVER.validate_json(json.dumps(received.value))
    json.dumps(stored, ensure_ascii=False).encode()
    return deserialize(stored)


keys = st.one_of(st.text(max_size=8), st.sampled_from(["__classname__", "__id__", "__type", "__var", "__version__"]))
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**65), 2**65),
    st.floats(),
    st.text(st.characters(codec=None)),
)
values = st.recursive(
    scalars, lambda each: st.one_of(st.lists(each, max_size=4), st.dictionaries(keys, each, max_size=4)), max_leaves=20
)


def nested(depth: int) -> Any:
    value: Any = 1
    for level in range(depth):
        value = [value] if level % 2 else {"a": value}
    return value


def texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [*value, *(text for each in value.values() for text in texts(each))]
    if isinstance(value, list):
        return [text for each in value for text in texts(each)]
    return [value] if isinstance(value, str) else []


@pytest.mark.slow
@settings(max_examples=scaled(150))
@given(values)
@example(nested(DEPTH))
@example({"a": 2**64 - 1, "b": -(2**63), "c": -0.0, "d": 5e-324, "e": 1.7976931348623157e308})
@example({"__type": "dict", "x": 1})
@example({"__version__": 1, "__data__": [1], "__var": 2})
@example({"": [""], "\x7f\x80\u2028": "\uffff\U0010ffff"})
def test_what_passes_the_check_is_stored_and_comes_back_as_it_was(value: Any) -> None:
    read = parse_value(json.dumps(value).encode())
    if storage_problem(read) is None:
        assert through_airflow(read) == read
        assert not any("\0" in text for text in texts(read)), "JSONB refuses it"


@pytest.mark.parametrize("depth", [DEPTH + 1, 300, 100_000])
def test_too_deep_a_value_is_no_recursion_error(depth: int) -> None:
    assert "nested more than 64 levels deep" in (storage_problem(nested(depth)) or "")


def test_an_output_json_of_a_failed_job_is_a_value_and_hides_no_reference(
    run: Callable[[BashBundleOperator], Any],
    ti: FakeTaskInstance,
) -> None:
    script = 'echo data > "$BATCHY_OUTPUT"; echo \'{"mine": 1}\' > "$BATCHY_OUTPUT_DIR/output.json"; exit 3'
    with pytest.raises(AirflowException, match="exit code 3"):
        run(BashBundleOperator(task_id="extract", bash_command=script))
    assert ti.xcoms["extract", "output"] == {"mine": 1}
    told = run(BashBundleOperator(task_id="report", bash_command="cat $BATCHY_PARAMS", previous=["extract"]))
    previous = json.loads(Path(told["url"].removeprefix("file://")).read_text())["previous"]["extract"]
    assert previous["output"]["url"].endswith("/extract/1/output")
    assert previous["values"] == {"output": {"mine": 1}}


def test_a_value_that_cannot_be_stored_is_not_pushed(
    run: Callable[[BashBundleOperator], Any],
    ti: FakeTaskInstance,
) -> None:
    script = (
        """echo '{"n": "Foo\\u0000bar"}' > "$BATCHY_OUTPUT_DIR/stats.json"; echo 1 > "$BATCHY_OUTPUT_DIR/ok.json" """
    )
    with pytest.raises(AirflowException, match=r"stats\.json: \$\.n has a NUL character"):
        run(BashBundleOperator(task_id="extract", bash_command=script))
    assert not {key for _, key in ti.xcoms} & {"stats"}


def test_a_value_null_is_no_xcom_and_reads_as_none(
    run: Callable[[BashBundleOperator], Any],
    ti: FakeTaskInstance,
) -> None:
    run(BashBundleOperator(task_id="extract", bash_command='echo null > "$BATCHY_OUTPUT_DIR/rows.json"'))
    assert ("extract", "rows") not in ti.xcoms
    told = run(BashBundleOperator(task_id="report", bash_command="cat $BATCHY_PARAMS", previous=["extract"]))
    previous = json.loads(Path(told["url"].removeprefix("file://")).read_text())["previous"]["extract"]
    assert previous["values"] == {"rows": None}
