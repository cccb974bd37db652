# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""What a job gets from all earlier ones: with one command of Redis, and from XCom where Redis does not have it."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowSkipException
from bundle_tasks import FakeTaskInstance, output
from redis import Redis

from batchy_provider.operators.bundle import BashBundleOperator
from batchy_provider.operators.closing import forget_outputs
from batchy_provider.operators.script_xcoms import EarlierTasks
from batchy_provider.state.job_outputs import MAX_BYTES
from batchy_provider.state.store import Store

SCRIPTS = {
    "good": 'echo data > "$BATCHY_OUTPUT"; echo \'{"rows": 3}\' > "$BATCHY_OUTPUT_DIR/count.json"',
    "nothing": 'echo null > "$BATCHY_OUTPUT_DIR/empty.json"',
    "named": 'echo \'"own"\' > "$BATCHY_OUTPUT_DIR/output.json"',
    "skipped": 'echo 7 > "$BATCHY_OUTPUT_DIR/n.json"; exit 99',
    "bad": 'echo data > "$BATCHY_OUTPUT"; echo 7 > "$BATCHY_OUTPUT_DIR/n.json"; exit 3',
    "bad_named": 'echo \'"own"\' > "$BATCHY_OUTPUT_DIR/output.json"; exit 4',
}


class Counted(FakeTaskInstance):
    """A task instance that counts what it asks Airflow."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()

    def xcom_push(self, key: str, value: Any) -> None:
        self.calls["push"] += 1
        super().xcom_push(key, value)

    def xcom_pull(self, task_ids: str, key: str = "return_value") -> Any:
        self.calls["pull"] += 1
        return super().xcom_pull(task_ids, key)

    def get_task_states(self, dag_id: str, task_ids: list[str], run_ids: list[str]) -> dict[str, dict[str, str]]:
        self.calls["states"] += 1
        return super().get_task_states(dag_id, task_ids, run_ids)


@pytest.fixture
def ti() -> Counted:
    return Counted()


def _task(name: str, script: str, **options: Any) -> BashBundleOperator:
    return BashBundleOperator(task_id=name, workflow="sales", job_params={}, bash_command=script, **options)


@pytest.fixture
def ran(run: Callable[[BashBundleOperator], Any], batch: Any, ti: Counted) -> Any:
    """The tasks of `SCRIPTS` have run in a batch."""
    for name, script in SCRIPTS.items():
        with contextlib.suppress(AirflowException, AirflowSkipException):
            run(_task(name, script))
    ti.calls.clear()
    return batch


def _previous(run: Callable[[BashBundleOperator], Any], *tasks: str, **options: Any) -> Any:
    told = run(_task("reader", "cat $BATCHY_PARAMS", previous=tasks or tuple(SCRIPTS), **options))
    return json.loads(output(told))["previous"]


def test_a_job_reads_all_earlier_ones_without_xcoms(run: Any, ran: Any, ti: Counted) -> None:
    previous = _previous(run)
    assert (ti.calls["pull"], ti.calls["states"]) == (0, 1)
    assert previous == json.loads(json.dumps(EarlierTasks(ti, list(SCRIPTS)).previous()))
    assert previous["good"]["values"] == {"count": {"rows": 3}}
    assert {name: each["exit_code"] for name, each in previous.items()} == {
        "good": 0,
        "nothing": 0,
        "named": 0,
        "skipped": 99,
        "bad": 3,
        "bad_named": 4,
    }
    assert previous["nothing"]["values"] == {"empty": None}
    assert previous["bad"]["output"]["bytes"] == 5


def test_the_calls_of_a_chain_are_linear(run: Any, batch: Any, ti: Counted) -> None:
    names = [f"j{number}" for number in range(12)]
    each = []
    for number, name in enumerate(names):
        ti.calls.clear()
        run(_task(name, SCRIPTS["good"], previous=names[:number], input_from=names[number - 1] if number else None))
        each.append(ti.calls.total())
    assert each == [each[0], *[each[0] + 2] * 11]  # states of the earlier ones, and the input


def test_the_input_is_that_of_xcom_which_nobody_can_change(
    run: Any, ran: Any, ti: Counted, redis_client: Redis
) -> None:
    field = f"{ran.batch_id}/good"
    stored = json.loads(redis_client.hget("sales:outputs", field) or "")
    stored["xcoms"]["return_value"] = {"url": "file:///etc/passwd", "bytes": 1, "sha256": "0"}
    redis_client.hset("sales:outputs", field, json.dumps(stored))
    assert output(run(_task("reader", "cat", input_from="good"))) == "data\n"
    assert ti.calls["pull"] == 1


def _lost(client: Redis, ti: Counted, batch_id: int) -> None:
    client.delete("sales:outputs")


def _damaged(client: Redis, ti: Counted, batch_id: int) -> None:
    for field in client.hkeys("sales:outputs"):
        client.hset("sales:outputs", field, "{")


def _of_another_form(client: Redis, ti: Counted, batch_id: int) -> None:
    for field in client.hkeys("sales:outputs"):
        client.hset("sales:outputs", field, '{"state": "success"}')


def _replaced(client: Redis, ti: Counted, batch_id: int) -> None:
    client.delete("sales:outputs")
    client.set("sales:outputs", "another program's")


@pytest.mark.parametrize("harm", [_lost, _damaged, _of_another_form, _replaced])
def test_xcom_has_what_redis_has_not(run: Any, ran: Any, ti: Counted, redis_client: Redis, harm: Any) -> None:
    before = _previous(run)
    harm(redis_client, ti, ran.batch_id)
    assert _previous(run) == before
    assert ti.calls["pull"] > 0


def test_a_job_succeeds_though_redis_refuses_its_copy(run: Any, batch: Any, ti: Counted, redis_client: Redis) -> None:
    redis_client.set("sales:outputs", "another program's")
    run(_task("good", SCRIPTS["good"]))
    assert _previous(run, "good")["good"]["values"] == {"count": {"rows": 3}}


def test_the_state_that_a_person_gave_a_task_counts(run: Any, ran: Any, ti: Counted) -> None:
    ti.states["bad"], ti.states["good"] = "success", "failed"
    previous = _previous(run)
    assert (previous["bad"]["state"], previous["good"]["state"]) == ("success", "failed")
    assert previous == EarlierTasks(ti, list(SCRIPTS)).previous()


def test_a_later_try_that_dies_leaves_nothing_of_the_earlier_one(
    run: Any, ran: Any, ti: Counted, redis_client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    ti.try_number = 2
    ti.xcoms = {key: value for key, value in ti.xcoms.items() if key[0] != "bad"}  # Airflow does it
    monkeypatch.setattr("batchy_provider.bundles.execution.Execution.run", lambda self: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(_task("bad", "exit 3"))
    monkeypatch.undo()
    assert EarlierTasks(ti, ["bad"], Store(redis_client).job_outputs("sales", ran.batch_id)).previous() == {
        "bad": {"state": "failed", "exit_code": None, "output": None, "values": {}}
    }


def test_values_that_are_too_large_stay_in_xcom(run: Any, batch: Any, ti: Counted) -> None:
    large = f'head -c {MAX_BYTES // 2} /dev/zero | tr "\\0" 7 | sed "s/.*/[\\"&\\"]/" > "$BATCHY_OUTPUT_DIR/'
    run(_task("good", f'{large}a.json"; {large}b.json"'))
    ti.calls.clear()
    assert _previous(run, "good")["good"]["values"] == {key: ["7" * (MAX_BYTES // 2)] for key in "ab"}
    assert ti.calls["pull"] > 0


def test_an_own_xcom_backend_keeps_its_values(
    run: Any, batch: Any, ti: Counted, redis_client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__XCOM_BACKEND", "company.encrypted.SafeXCom")
    run(_task("good", SCRIPTS["good"]))
    assert not redis_client.exists("sales:outputs")
    assert _previous(run, "good")["good"]["exit_code"] == 0


def test_secrets_are_masked_in_redis_too(run: Any, batch: Any, redis_client: Redis) -> None:
    script = 'printf \'{"key": "%s"}\' "$API_PASSWORD" > "$BATCHY_OUTPUT_DIR/v.json"'
    run(_task("good", script, env={"API_PASSWORD": "hunter2hunter2"}))
    (stored,) = redis_client.hvals("sales:outputs")
    assert b"hunter2" not in stored
    assert b"***" in stored


def test_instances_of_a_mapped_task_read_like_xcoms(run: Any, batch: Any, ti: Counted, redis_client: Redis) -> None:
    for index in range(3):
        ti.map_index = index
        run(_task("part", SCRIPTS["good"]))
    outputs = Store(redis_client).job_outputs("sales", batch.batch_id)
    stored = outputs.load([("part", index) for index in range(3)])
    assert [entry["xcoms"]["exit_code"] for _, entry in sorted(stored.items())] == [0, 0, 0]
    ti.states = {f"part_{index}": "success" for index in range(3)}
    ti.calls.clear()
    found = _Mapped(ti, outputs).previous()["part"]
    assert found == {"state": "success", "exit_code": [0, 0, 0], "output": None, "values": {}}
    assert ti.calls["pull"] == 0


class _Mapped(EarlierTasks):
    def __init__(self, ti: Counted, outputs: Any) -> None:
        ti.get_task_states = lambda **asked: {ti.run_id: dict(ti.states)}
        super().__init__(ti, ["part"], outputs)


def test_a_closed_batch_leaves_nothing_in_redis(run: Any, ran: Any, ti: Counted, redis_client: Redis) -> None:
    assert redis_client.hlen("sales:outputs") == len(SCRIPTS)
    forget_outputs(Store(redis_client), ran, {name: {-1: state} for name, state in ti.states.items()})
    assert not redis_client.exists("sales:outputs")
