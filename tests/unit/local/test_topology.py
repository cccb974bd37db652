# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The disks of many machines on one: each has all that it needs, and none sees another's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from batchy_provider.local import topology
from batchy_provider.local.process import StackError
from batchy_provider.local.topology import CORE, ONE_MACHINE, Machine, can_hide, many_machines


@pytest.fixture
def site(tmp_path: Path) -> tuple[Path, Path, list[Machine]]:
    """DAGs, workflows, and two machines that have them."""
    for name in ("dags/loader.py", "cfg/sales.yaml", "cfg/bundles/load/script.sh"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    machines = [Machine(tmp_path / "machines", name) for name in ("w1", "w2")]
    for machine in machines:
        machine.deploy(dags=tmp_path / "dags", cfg=tmp_path / "cfg")
    return tmp_path / "dags", tmp_path / "cfg", machines


def test_one_machine_is_what_it_was() -> None:
    assert ONE_MACHINE.components() == CORE
    assert ONE_MACHINE.options(database_url="x", broker_url="y") == {"core.executor": "LocalExecutor"}


def test_each_worker_has_a_queue_of_its_own_and_the_default_one() -> None:
    components = many_machines(3).components()
    assert set(components) == {*CORE, "w1", "w2", "w3"}
    assert components["w3"][components["w3"].index("-q") + 1] == "default,w3"


def test_results_and_logs_of_many_machines_are_on_no_disk() -> None:
    options = many_machines().options(database_url="postgresql://x", broker_url="redis://y")
    assert options["batchy.results_url"].startswith("s3://")
    assert options["logging.remote_base_log_folder"].startswith("s3://")
    assert (options["celery.broker_url"], options["celery.result_backend"]) == ("redis://y", "db+postgresql://x")


def test_a_new_deployment_brings_what_is_new_and_takes_what_is_gone(site: tuple[Path, Path, list[Machine]]) -> None:
    dags, cfg, machines = site
    (cfg / "sales.yaml").write_text("changed")
    (cfg / "stock.yaml").write_text("new")
    (cfg / "bundles/load/script.sh").unlink()
    (cfg / "bundles/load").rmdir()
    for machine in machines:
        machine.deploy(dags=dags, cfg=cfg)
        assert (machine.disk / "cfg/sales.yaml").read_text() == "changed"
        assert (machine.disk / "cfg/stock.yaml").read_text() == "new"
        assert list((machine.disk / "cfg/bundles").iterdir()) == []


def test_no_path_that_one_machine_is_told_is_on_anothers_disk(site: tuple[Path, Path, list[Machine]]) -> None:
    of_all = {"AIRFLOW_HOME": "/shared", "AIRFLOW__BATCHY__CFG_FOLDER": "/shared/cfg", "PATH": "/bin"}
    one, two = (machine.environment(of_all) for machine in site[2])
    assert one["PATH"] == two["PATH"] == "/bin"
    assert not [value for value in (*one.values(), *two.values()) if "/shared" in value]
    changed = {key for key in one if one[key] != of_all.get(key)}
    assert all(one[key].startswith(str(site[2][0].disk)) for key in changed)
    assert all(one[key] != two[key] for key in changed)


def test_what_is_missing_is_said_with_the_command_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topology, "_is_installed", lambda package: package == "moto")
    with pytest.raises(StackError, match=r"pip install .*amazon\[s3fs\].*celery"):
        many_machines().check()
    ONE_MACHINE.check()


@pytest.mark.skipif(not can_hide(), reason="only root on Linux, where it may mount, can hide disks")
def test_a_program_sees_its_own_disk_and_no_other(site: tuple[Path, Path, list[Machine]]) -> None:
    _, _, (one, two) = site
    look = (
        f"import pathlib; root = pathlib.Path({str(one.disk.parent)!r})\n"
        "print(sorted(path.name for path in root.iterdir()))\n"
        f"print(pathlib.Path({str(one.disk / 'cfg/sales.yaml')!r}).read_text())\n"
        f"pathlib.Path({str(one.disk / 'written')!r}).write_text('by w1')\n"
    )
    command = one.hiding_others([sys.executable, "-S", "-c", look])
    seen = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert seen == ["['w1']", "cfg/sales.yaml"]
    assert (one.disk / "written").read_text() == "by w1", (
        "what it writes is on its disk, also for who looks from outside"
    )
    assert two.disk.exists()
