# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Two Airflows without a configured name: each makes one, keeps it in its database, and they are different."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from airflow.sdk.execution_time import task_runner
from redis import Redis

from batchy_provider.compat import runs_task
from batchy_provider.core.holders import UNNAMED, Holder
from batchy_provider.core.values import CloseRequest, OpenRequest, WorkflowConfig
from batchy_provider.exceptions import BatchHeldError
from batchy_provider.hooks import airflow_identity
from batchy_provider.hooks.deployment import configured_name, deployment_name
from batchy_provider.operators.dag_run import is_gone
from batchy_provider.plan.open_batch_causes import _is_elsewhere
from batchy_provider.state.store import Store

START_PROGRAMS = """
import os
from airflow import models, settings
models.import_all_models()
from airflow.models.base import Base
Base.metadata.create_all(settings.engine)
from airflow.jobs.job import Job
from airflow.utils.session import create_session
from batchy_provider.hooks.airflow_identity import stored_identity
from batchy_provider.hooks.deployment import deployment_name

def start():
    os.environ.pop("_BATCHY_AIRFLOW_IDENTITY", None)
    Job()  # each scheduler, triggerer and DAG processor makes one before it starts anything
    with create_session() as session:
        print(stored_identity(session), deployment_name())

os.environ["AIRFLOW__BATCHY__DEPLOYMENT"] = "finance"
start()
del os.environ["AIRFLOW__BATCHY__DEPLOYMENT"]
start()
start()
"""
CONFIG = WorkflowConfig(name="wf", jobs={"load": {}})


@pytest.mark.slow
def test_an_airflow_without_a_name_makes_its_identity_once_and_one_with_a_name_makes_none(tmp_path: Path) -> None:
    settings = {
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{tmp_path / 'airflow.db'}",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    }
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "_BATCHY"))}
    done = subprocess.run(
        [sys.executable, "-c", START_PROGRAMS],
        env={**inherited, **settings},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    named, first, again = (line.split() for line in done.stdout.splitlines()[-3:])
    assert named == ["None", "finance"]
    assert first[0] == first[1]
    assert first[0].startswith(UNNAMED)
    assert again == first


@pytest.mark.parametrize("is_taken", [False, True])
def test_of_two_programs_that_start_together_the_first_one_counts(is_taken: bool, tmp_path: Path) -> None:
    from airflow import models
    from airflow.models.base import Base
    from sqlalchemy import create_engine
    from sqlalchemy.orm import Session

    models.import_all_models()
    engine = create_engine(f"sqlite:///{tmp_path / 'airflow.db'}")
    Base.metadata.create_all(engine)
    with Session(engine) as first, Session(engine) as second:
        assert airflow_identity.stored_identity(second) is None
        known = airflow_identity._create(first) if is_taken else None
        second.rollback()
        made = airflow_identity._create(second)
        assert made == airflow_identity.stored_identity(second)
        assert known in (None, made)
    engine.dispose()


def test_two_databases_have_two_identities_and_a_copy_has_that_of_the_original(tmp_path: Path) -> None:
    here, there = (_identity_in(tmp_path / f"{name}.db") for name in ("here", "there"))
    assert here != there
    (tmp_path / "moved.db").write_bytes((tmp_path / "here.db").read_bytes())
    assert _identity_in(tmp_path / "moved.db") == here


def _identity_in(database: Path) -> str:
    from airflow import models
    from airflow.models.base import Base
    from sqlalchemy import create_engine
    from sqlalchemy.orm import Session

    models.import_all_models()
    engine = create_engine(f"sqlite:///{database}")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        found = airflow_identity.stored_identity(session) or airflow_identity._create(session)
    engine.dispose()
    return found


@pytest.fixture
def unnamed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AIRFLOW__BATCHY__DEPLOYMENT", "AIRFLOW__API__BASE_URL", "AIRFLOW__CORE__EXECUTION_API_SERVER_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("_BATCHY_AIRFLOW_IDENTITY", raising=False)
    airflow_identity._asked.cache_clear()
    assert configured_name() is None


@pytest.fixture
def asked(unnamed: None, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The variables that a task asks the API server for; a double of the API server, which tasks alone can reach."""
    import airflow.sdk

    names: list[str] = []

    def get(name: str, default: object = None) -> object:
        names.append(name)
        return f"{UNNAMED}celery"

    monkeypatch.setattr(airflow.sdk, "Variable", SimpleNamespace(get=get))
    yield names
    airflow_identity._asked.cache_clear()


def test_a_task_whose_scheduler_knows_it_asks_for_nothing(asked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_BATCHY_AIRFLOW_IDENTITY", f"{UNNAMED}local")
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", object(), raising=False)
    assert deployment_name() == f"{UNNAMED}local"
    assert asked == []


def test_a_task_on_another_worker_asks_once_and_what_is_no_task_does_not(
    asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not runs_task()
    assert deployment_name() is None
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", object(), raising=False)
    assert {deployment_name() for _ in range(3)} == {f"{UNNAMED}celery"}
    assert asked == [airflow_identity.VARIABLE]


def test_a_name_that_is_configured_asks_for_nothing(asked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__BATCHY__DEPLOYMENT", "finance")
    assert deployment_name() == "finance"
    assert asked == []


class Site:
    """One of two Airflows without a name that have the same DAG, and the same run of it."""

    def __init__(self, client: Redis, identity: str | None) -> None:
        self._store = Store(client)
        self.holder = Holder(dag_id="wf", run_id="scheduled__2026-11-29", deployment=identity)

    def open(self, **more: object) -> int:
        request = OpenRequest(config=CONFIG, holder=self.holder, **more)
        return self._store.open("wf", request).batch_id

    def close(self, batch_id: int) -> None:
        self._store.close("wf", CloseRequest(result="success", batch_id=batch_id))


def test_two_airflows_with_the_same_run_never_load_one_batch_together(redis_client: Redis) -> None:
    here, there = (Site(redis_client, f"{UNNAMED}{name}") for name in ("here", "there"))
    batch_id = here.open()
    with pytest.raises(BatchHeldError, match=rf"run of the Airflow '{UNNAMED}here', and this is the Airflow") as held:
        there.open()

    class KnowsTheRun:
        """The task of the other Airflow, whose run of the same id has ended."""

        def get_dr_count(self, **asked: object) -> int:
            return 0

    assert not is_gone(KnowsTheRun(), there.holder, held.value.holder)
    assert Site(redis_client, here.holder.deployment).open() == batch_id  # a retry
    here.close(batch_id)
    assert there.open() > batch_id


def test_a_batch_that_an_earlier_version_has_opened_goes_on(redis_client: Redis) -> None:
    batch_id = Site(redis_client, None).open()
    assert Site(redis_client, f"{UNNAMED}here").open() == batch_id


@pytest.mark.parametrize(
    ("here", "there", "differ"),
    [
        ("finance", "sales", True),
        ("finance", "finance", False),
        ("finance", None, False),
        (f"{UNNAMED}here", f"{UNNAMED}there", True),
        ("finance", f"{UNNAMED}there", True),
        (f"{UNNAMED}here", "http://api:8080/execution", False),
    ],
)
def test_an_api_server_without_a_name_says_nothing_about_runs_with_one(
    here: str, there: str | None, differ: bool
) -> None:
    assert _is_elsewhere(here, there) is differ
