# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The log of the sensor: what it waits for, the state, and what ended the wait."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowSensorTimeout,
)
from sensor_runs import closed, context, opened, sensor, waits

from batchy_provider.state.store import Store


class TestWhatTheLogSays:
    @pytest.fixture
    def told(self, capsys: pytest.CaptureFixture[str]) -> Callable[[], dict[str, str]]:
        """A function that returns what the sensor has said → as what."""
        line = re.compile(r"\[(\w+) *\] (.*) \[airflow.task.operators.batchy_provider")

        def read() -> dict[str, str]:
            found = [line.search(text) for text in capsys.readouterr().out.splitlines()]
            said = [(match[2], match[1]) for match in found if match and "Task Runner" not in match[2]]
            assert len(dict(said)) == len(said), "it repeats itself"
            return dict(said)

        return read

    def test_what_is_waited_for_and_how_it_stands(
        self, store: Store, mode: dict[str, Any], told: Callable[[], dict[str, str]]
    ) -> None:
        batch_id = opened(store)
        now = datetime.now(timezone.utc)
        assert waits(sensor(**mode, jobs=["a"]), context(run_after=now))
        waiting, state = told()
        assert waiting == f"wf: waiting until job a has succeeded on {now.date()} or later (UTC)"
        assert f"batch {batch_id} is open since" in state

    def test_for_how_long_and_which_batch_ended_it(
        self, store: Store, mode: dict[str, Any], told: Callable[[], dict[str, str]]
    ) -> None:
        batch_id = closed(store)
        of = context()
        of["ti"].start_date -= timedelta(hours=2, minutes=3, seconds=0.1)
        of["ti"].get_first_reschedule_date = lambda context: of["ti"].start_date
        sensor(**mode).execute(of)
        ending = next(text for text in told() if "; waited " in text)
        assert ending.startswith(f"wf: batch {batch_id} succeeded at ")
        assert "; waited 2h3m" in ending

    def test_a_poke_that_finds_nothing_new_says_nothing_new(
        self, store: Store, told: Callable[[], dict[str, str]]
    ) -> None:
        opened(store)
        with pytest.raises(AirflowSensorTimeout):
            sensor(deferrable=False, timeout=0.3).execute(context())
        assert len([text for text in told() if "is open since" in text]) == 1

    def warnings(self, told: dict[str, str]) -> list[str]:
        return [text for text, level in told.items() if level == "warning"]

    def test_a_workflow_of_no_config(
        self, mode: dict[str, Any], told: Callable[[], dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AIRFLOW__BATCHY__CFG_FOLDER", str(tmp_path))
        (tmp_path / "crm_extract.yaml").write_text("")
        assert waits(sensor(**mode, workflow="crm_extrakt"), context())
        assert self.warnings(told()) == [
            "crm_extrakt: not in Redis yet: no batch was ever opened, nor its config loaded "
            "(or `batchy restore crm_extrakt`)",
            f"crm_extrakt: no file in {tmp_path} defines it; did you mean 'crm_extract'?",
        ]

    def test_a_workflow_whose_first_batch_is_to_come(
        self, mode: dict[str, Any], told: Callable[[], dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AIRFLOW__BATCHY__CFG_FOLDER", str(tmp_path))
        (tmp_path / "crm.yaml").write_text("")
        assert waits(sensor(**mode, workflow="crm"), context())
        assert f"crm: {tmp_path / 'crm.yaml'} defines it, and no batch of it was opened yet" in told()

    def test_a_machine_without_the_files(
        self, mode: dict[str, Any], told: Callable[[], dict[str, str]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AIRFLOW__BATCHY__CFG_FOLDER", "/nowhere")
        assert waits(sensor(**mode), context())
        assert "wf: whether a file defines it cannot be seen here: there is no folder /nowhere" in self.warnings(told())

    def test_all_jobs_are_disabled(
        self, store: Store, mode: dict[str, Any], told: Callable[[], dict[str, str]]
    ) -> None:
        closed(store)
        store.disable("wf", "a", by="test")
        store.disable("wf", "b", by="test")
        assert waits(sensor(**mode), context())
        assert self.warnings(told()) == ["wf: every job waited for is switched off; enable one"]

    def test_a_job_that_is_not_there(
        self, store: Store, mode: dict[str, Any], told: Callable[[], dict[str, str]]
    ) -> None:
        closed(store)
        assert waits(sensor(**mode, jobs=["c"]), context())
        assert self.warnings(told()) == ["wf: has no job c; its jobs are a, b"]

    def test_a_long_wait_says_why_once_for_each_reason(
        self, store: Store, told: Callable[[], dict[str, str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("AIRFLOW__BATCHY__CFG_FOLDER", str(tmp_path))
        closed(store, "failed")
        of = context()
        of["ti"].start_date -= timedelta(minutes=20)
        task = sensor(deferrable=False, mode="poke")
        task.poke(of)
        assert [text for text in told() if "root cause: wf has failed" in text]
        task.poke(of)
        assert told() == {}
