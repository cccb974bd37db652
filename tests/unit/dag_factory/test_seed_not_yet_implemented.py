# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""What the scheduling seed lists as "functionalities we have yet to implement", item by item, in its own words.

From a YAML file to real scripts, in Airflow's own task runner (`dag.test()`); ``tests/integration`` has the same
beside a scheduler. The seed calls a job a batch.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow_versions import store_dags
from redis import Redis

from batchy_provider.cli.main import main
from batchy_provider.dag_factory import build_dags
from batchy_provider.state.store import Store

LOADER = Path(__file__).parents[3] / "dags" / "batchy_dags.py"
# A script that goes on when the test has seen what it looks for, and ends anyway if it never does.
UNTIL_SEEN = "for i in {1..2400}; do test -e %s && break; sleep 0.1; done"


class Seed:
    """A folder with one workflow, its state in Redis, and Airflow's metadata database to run it."""

    def __init__(self, cfg: Path, redis_url: str, store: Store) -> None:
        self.cfg, self.url, self.store = cfg, redis_url, store
        self.file = cfg / "seed.yaml"
        self.seen = cfg.parent / "seen"
        self.until_seen = UNTIL_SEEN % self.seen

    def run(self, watch: Callable[[], None] | None = None) -> dict[str, str]:
        """Run the workflow as its file is now; returns the states of the run (under "") and of its tasks.

        :param watch: what is done meanwhile; the scripts may wait for its end.
        """
        dags, diagnostics = build_dags(self.cfg)
        assert [str(diagnostic) for diagnostic in diagnostics] == []
        violations: list[BaseException] = []

        def watching() -> None:
            try:
                assert watch is not None
                watch()
            except BaseException as error:
                violations.append(error)
            finally:
                self.seen.touch()

        self.seen.unlink(missing_ok=True)
        watcher = threading.Thread(target=watching)
        if watch is not None:
            watcher.start()
        store_dags()
        done = dags["seed"].test()
        if watch is not None:
            watcher.join()
        if violations:
            raise violations[0]
        return {"": str(done.state), **{ti.task_id: str(ti.state) for ti in done.get_task_instances()}}

    def jobs(self) -> dict[str, dict[str, Any]]:
        """The latest batch's jobs."""
        batch = self.store.status("seed").batch
        assert batch is not None
        return batch.jobs

    def command(self, *arguments: str) -> list[str]:
        """The command line, on this workflow's Redis and files."""
        where = ["--redis-url", self.url, "--cfg", str(self.cfg)]
        return [sys.executable, "-m", "batchy_provider.cli.main", *where, *arguments]

    def batchy(self, *arguments: str) -> None:
        """The same in this process."""
        assert main(self.command(*arguments)[3:]) == 0


@pytest.fixture(scope="module")
def _loader() -> Iterator[None]:
    """Airflow's metadata database, and our loader file in its DAGs folder."""
    from airflow.utils.db import initdb

    folder = Path(os.environ["AIRFLOW__CORE__DAGS_FOLDER"])
    folder.mkdir(exist_ok=True)
    shutil.copy(LOADER, folder)
    initdb()
    yield
    (folder / LOADER.name).unlink()


@pytest.fixture
def seed(tmp_path: Path, _loader: None, redis_url: str, redis_client: Redis, monkeypatch: pytest.MonkeyPatch) -> Seed:
    monkeypatch.setenv("AIRFLOW_CONN_REDIS_DEFAULT", redis_url)
    monkeypatch.setenv("AIRFLOW__BATCHY__CFG_FOLDER", str(tmp_path / "cfg"))
    monkeypatch.setenv("AIRFLOW__BATCHY__RESULTS_URL", str(tmp_path / "results"))
    # Else Airflow stores an edited DAG anew only after so many seconds.
    monkeypatch.setattr("airflow.settings.MIN_SERIALIZED_DAG_UPDATE_INTERVAL", 0, raising=False)
    (tmp_path / "cfg").mkdir()
    return Seed(tmp_path / "cfg", redis_url, Store(redis_client))


@pytest.mark.slow
def test_monitor_a_batchs_execution_progress(seed: Seed):
    seed.file.write_text(
        "jobs:\n  load:\n    bash: |\n"
        """      echo '::batchy {"progress": 0.25, "message": "17/68 files"}'\n"""
        f"      {seed.until_seen}\n"
    )
    shown = []

    def watch() -> None:
        until = time.monotonic() + 240
        while not shown and time.monotonic() < until:
            done = subprocess.run(seed.command("status", "seed"), capture_output=True, text=True, check=False)
            shown.extend(line for line in done.stdout.splitlines() if "17/68 files" in line)

    assert seed.run(watch)[""] == "success"
    assert shown, "no progress while it ran"
    assert "load" in shown[0]
    assert "25%" in shown[0]


def test_real_time_monitoring_of_the_output_of_the_batch(seed: Seed, tmp_path: Path):
    seed.file.write_text(
        f"jobs:\n  load:\n    bash: |\n      echo loading\n      echo careful >&2\n      {seed.until_seen}\n"
        "      echo loaded\n"
    )
    received: list[str] = []

    def watch() -> None:
        command = seed.command("logs", "seed", "load", "--follow", "--stdout", "--results", str(tmp_path / "results"))
        until = time.monotonic() + 240
        while not received and time.monotonic() < until:
            with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as following:
                assert following.stdout is not None
                received.extend(line for line in [following.stdout.readline()] if line)  # nothing before it runs
                if received:
                    assert not seed.seen.exists()
                    seed.seen.touch()
                    received.extend(following.stdout)

    assert seed.run(watch)[""] == "success"
    assert received == ["loading\n", "loaded\n"], "the first line was read before the script could go on"


@pytest.mark.slow
def test_disable_and_enable_a_batchs_execution(seed: Seed, tmp_path: Path):
    seed.file.write_text(f"jobs: {{load: {{bash: 'echo ran >> {tmp_path}/runs'}}, report: {{bash: 'true'}}}}\n")
    assert seed.run()["load"] == "success"
    loaded_to = seed.jobs()["load"]["to_date"]

    seed.batchy("disable", "seed", "load")
    states = seed.run()
    assert (states[""], states["load"], states["report"]) == ("success", "skipped", "success")

    seed.batchy("enable", "seed", "load")
    assert seed.run()["load"] == "success"
    assert seed.jobs()["load"]["from_date"] == loaded_to, "what came while it was off is caught up"
    assert (tmp_path / "runs").read_text() == "ran\n" * 2


def test_edit_configuration_of_the_batch(seed: Seed, tmp_path: Path):
    params = tmp_path / "params"
    seed.file.write_text(
        "jobs:  # kept\n"
        f"  extract: {{bash: '{seed.until_seen}'}}\n"
        f"  load: {{bash: 'cat $BATCHY_PARAMS | tr -d \" \\n\" >> {params}; echo >> {params}', params: {{level: 1}}}}\n"
    )

    def edit() -> None:
        until = time.monotonic() + 240
        while seed.store.backend.client.hlen("seed") < 2 and time.monotonic() < until:
            time.sleep(0.05)
        seed.file.write_text(seed.file.read_text().replace("level: 1", "level: 2"))
        seed.batchy("add", "seed", "audit", "--bash", "true", "--after", "extract")

    assert set(seed.run(edit)) == {"", "open", "extract", "load", "close"}
    assert "jobs:  # kept" in seed.file.read_text()
    assert '"level":1' in params.read_text(), "a batch that is open keeps its meaning"
    assert set(seed.jobs()) == {"extract", "load"}

    assert seed.run(lambda: None)["audit"] == "success"
    assert '"level":2' in params.read_text().splitlines()[1]
    assert seed.jobs()["load"]["level"] == 2


@pytest.mark.slow
def test_adding_another_batch_that_runs_in_case_of_an_error(seed: Seed, tmp_path: Path):
    seed.file.write_text(f"jobs:\n  load:\n    bash: test -e {tmp_path}/good\n")
    seed.batchy("add", "seed", "page", "--when", "failed", "--bash", f"echo $BATCHY_FROM_DATE > {tmp_path}/paged")

    states = seed.run()
    assert states == {"": "failed", "open": "success", "load": "failed", "page": "success", "close": "failed"}
    assert (tmp_path / "paged").read_text().strip() == seed.jobs()["load"]["from_date"]
    assert set(seed.jobs()) == {"load"}, "it has no window of its own"

    (tmp_path / "good").touch()
    states = seed.run()
    assert (states[""], states["load"], states["page"]) == ("success", "success", "skipped")
