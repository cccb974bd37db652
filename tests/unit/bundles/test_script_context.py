# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""What a script is told, and what it is never told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from batchy_provider.bundles.errors import JobEnvironmentError
from batchy_provider.bundles.script_context import ScriptContext, write_params_file
from batchy_provider.bundles.script_environment import build_environment

WORKER = {
    "PATH": "/bin",
    "HOME": "/home/a",
    "LANG": "de_DE.UTF-8",
    "LC_ALL": "C",
    "TZ": "Asia/Tokyo",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "postgresql://u:secret@h/db",
    "AIRFLOW_CONN_X": "redis://:secret@h",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "BASH_ENV": "/evil",
    "LD_PRELOAD": "/evil.so",
}


def test_only_the_allow_list_is_inherited() -> None:
    assert set(build_environment({}, worker=WORKER)) == {"PATH", "HOME", "LANG", "LC_ALL", "TZ"}


def test_everything_is_inherited_on_request() -> None:
    assert build_environment({}, inherit=True, worker=WORKER) == WORKER


def test_there_is_always_a_path() -> None:
    assert build_environment({}, worker={})["PATH"]


def test_the_jobs_variables_win_and_none_takes_away() -> None:
    built = build_environment(
        {"BATCHY_JOB": "j"}, env={"TZ": "UTC", "HOME": None, "N": 3, "F": 1.5, "B": True}, worker=WORKER
    )
    assert (built["TZ"], built["N"], built["F"], built["B"], built["BATCHY_JOB"]) == ("UTC", "3", "1.5", "true", "j")
    assert "HOME" not in built


@pytest.mark.parametrize(
    ("env", "reason"),
    [
        ({"BATCHY_FROM_DATE": "x"}, "reserved"),
        ({"A=B": "x"}, "no name"),
        ({"": "x"}, "no name"),
        ({"1A": "x"}, "no name"),
        ({"A": "x\0y"}, "NUL"),
        ({"A": ["x"]}, "is a list"),
        ({"A": {}}, "is a dict"),
    ],
)
def test_what_no_process_can_be_given_is_refused(env: dict[str, Any], reason: str) -> None:
    with pytest.raises(JobEnvironmentError, match=reason):
        build_environment({}, env=env)


def test_unknown_facts_are_empty_not_missing() -> None:
    told = ScriptContext(job="j").variables()
    assert set(told) == {
        "BATCHY_WORKFLOW",
        "BATCHY_JOB",
        "BATCHY_BATCH_ID",
        "BATCHY_FROM_DATE",
        "BATCHY_TO_DATE",
        "BATCHY_ATTEMPT",
        "BATCHY_RUN_ID",
    }
    assert (told["BATCHY_FROM_DATE"], told["BATCHY_ATTEMPT"]) == ("", "1")


def test_params_are_written_as_they_are(tmp_path: Path) -> None:
    params = {"big": 2**70, "empty": [], "é": "ü\ud800", "none": None, "deep": {"z": 1, "a": [1.5]}}
    write_params_file(ScriptContext(job="j", params=params, previous={"a": {"state": "aborted"}}), tmp_path / "p")
    read = json.loads((tmp_path / "p").read_bytes().decode("utf-8", "surrogatepass"))
    assert read["params"] == params
    assert list(read["params"]) == list(params)
    assert read["previous"] == {"a": {"state": "aborted"}}
    assert read["input"] is None


def test_params_that_are_no_json_are_named(tmp_path: Path) -> None:
    with pytest.raises(JobEnvironmentError, match="job j"):
        write_params_file(ScriptContext(job="j", params={"x": object()}), tmp_path / "p")
