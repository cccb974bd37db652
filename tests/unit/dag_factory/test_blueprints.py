# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""A later parse builds each DAG from its blueprint. It is the same DAG, and never one of an older file."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable
from datetime import datetime, timezone, tzinfo
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from batchy_provider.bundles.script import script_problem
from batchy_provider.compat import serialize_dag
from batchy_provider.config import code_digest, valid_files
from batchy_provider.config.diagnostics import Diagnostic
from batchy_provider.config.model import WorkflowModel
from batchy_provider.config.reader import Reader, read_folder
from batchy_provider.core.storable_text import text_problem
from batchy_provider.dag_factory import build, build_dags, build_record
from batchy_provider.dag_factory.blueprint import Blueprint, blueprint_of, decode, encode
from batchy_provider.dag_factory.loader import find_errors
from batchy_provider.timetables.calendar import CalendarTimetable

ROOT = Path(__file__).parents[3]
SCRIPT = "schedule: '@daily'\njobs: {a: {bash: echo 1}}\n"
PLAIN = {
    "script": SCRIPT,
    "no_schedule": "jobs: {a: {bash: echo}}\n",
    "once": "schedule: '@once'\njobs: {a: {bash: echo}}\n",
    "continuous": "schedule: '@continuous'\nstart_date: 2026-01-01\njobs: {a: {bash: echo}}\n",
    "crons": "schedule: ['0 2 * * *', '30 14 * * mon-fri']\ntimezone: Europe/Paris\njobs: {a: {bash: echo}}\n",
    "after": "schedule: {after: [script, once], any: true, result: closed, outside: true}\njobs: {a: {bash: echo}}\n",
    "same_day": "schedule: {after: [script, once], same_day: true}\nconnection: other\njobs: {a: {bash: echo}}\n",
    "times_and_after": "schedule: {cron: '@hourly', after: script, result: failed}\njobs: {a: {bash: echo}}\n",
    "times": "schedule: {cron: ['0 1 * * *', '0 5 * * *']}\njobs: {a: {bash: echo}}\n",
    "dates": "start_date: 2026-01-01T06:30:00\nend_date: 2030-05-05T00:00:00+05:30\ntimezone: Asia/Tokyo\n"
    "schedule: '@daily'\ncatchup: true\nmax_active_runs: 3\nmax_active_jobs: 2\nrun_timeout: 1h30m\npaused: true\n"
    "tags: [b, a, b]\ndescription: 'Größe {{ x }}'\ndoc: \"# Title\\n\\ttabs\"\njobs: {a: {bash: echo}}\n",
    "waits": "wait_for: [script, {workflow: once, jobs: [a], scope: {within: 1.5h}, timeout: 90s, on_failed: fail},\n"
    "  {workflow: crons, scope: since_last_run, timezone: Asia/Tokyo}]\nowner: team\njobs: {a: {bash: echo}}\n",
    "window": "window: {until: {workflows: [script]}, delay: 90s, align: hour, max: 1d, if_empty: run}\nif_open: wait\n"
    "infa: {folder: F, dates: iso}\njobs: {a: {bash: echo}}\n",
    "settings": "defaults: {retries: 2, retry_delay: 0.25s, max_retry_delay: 1h, timeout: 4h, env: {A: x}, queue: q,\n"
    "  owner: o, reprocess_hours: 1.5}\njobs:\n  a: {bash: echo, pool: p, priority: 7, env: {B: 1}, doc: '# A'}\n"
    "  b: {bash: cat, input: previous, independent: true, kill_grace: 3s, background_timeout: 1m, inherit_env: true}\n"
    "  c: {bash: cat, after: [a], limits: {cpu: 10m, memory: 512M, open_files: 64, file_size: 2G},\n"
    "    retry_backoff: true}\n"
    "  d: {bash: cat, after: [], enabled: false, trunc_start: true, initial_date: 2020-01-01}\n"
    "  e: {bash: 'echo {{ batch.from_date }}', when: failed, params: {p: [1, {x: null}]}, args: [x, '{{ ds }}']}\n"
    "  f: {bash: echo, when: failed, enabled: false}\n",
    "bundle": "jobs: {a: {bundle: load, args: [--fast], inputs: ['s3://b/p'], outputs: ['s3://b/q'],\n"
    f"  params: {{'$x': 'a\\tb', n: 1.0e+20, big: {2**63 - 1}, '': [true, null]}}}}}}\n",
}
MORE = {
    "operator": "jobs: {a: {operator: airflow.providers.standard.operators.empty.EmptyOperator}}\n",
    "notifier": "on_failure: x.Notifier\njobs: {a: {bash: echo}}\n",
    "notified_job": "jobs: {a: {bash: echo, on_retry: x.Notifier}}\n",
    "list": "jobs: {a: {bash: echo, for_each: [1, 2]}}\n",
    "form": "run_params: {region: eu}\njobs: {a: {bash: echo}}\n",
    "deadline": "deadline: {within: 1h, notify: x.Notifier}\njobs: {a: {bash: echo}}\n",
    "calendar": "schedule: {cron: '0 2 * * *', calendar: shop}\njobs: {a: {bash: echo}}\n",
}


@pytest.fixture
def cfg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Enough workflows for blueprints to be used, and the one that tests edit, `script`."""
    monkeypatch.delenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    for folder in ("tmp", "cfg/bundles/load"):
        (tmp_path / folder).mkdir(parents=True)
    folder = tmp_path / "cfg"
    (folder / "bundles" / "load" / "script.sh").write_text("echo\n")
    (folder / "_calendars.yaml").write_text("shop: {weekend: [sun]}\n")
    for number in range(build_record.MIN_CACHED - len(PLAIN)):
        (folder / f"more_{number}.yaml").write_text(SCRIPT)
    for name, text in PLAIN.items():
        (folder / f"{name}.yaml").write_text(text)
    return folder


@pytest.fixture
def checked(cfg: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The workflows whose models were made since the first parse, of the file and of its cached data alike."""
    assert build_dags(cfg)[1] == []
    names: list[str] = []
    real = WorkflowModel.model_validate

    def spy(data: Any, **more: Any) -> Any:
        names.append(data.get("description", "?"))
        return real(data, **more)

    monkeypatch.setattr(WorkflowModel, "model_validate", spy)
    return names


def of_text(folder: Path, name: str, text: str) -> Blueprint:
    workflow, diagnostics = Reader(folder).read_text(folder / f"{name}.yaml", text)
    assert diagnostics == []
    assert workflow is not None
    return blueprint_of(workflow)


def command(cfg: Path, name: str = "script") -> str:
    """What the script of a workflow runs by the DAGs of a parse."""
    task: Any = build_dags(cfg)[0][name].get_task("a")
    return str(task.bash_command)


def attributes(dag: Any) -> Any:
    """What a DAG says, to Airflow's database and to the process of a task."""
    tasks = {
        task.task_id: {
            name: getattr(task, name, None)
            for name in (*task.template_fields, "previous", "retries", "retry_delay", "job_params", "window")
        }
        | {"check": vars(task).get("pre_execute")}
        for task in dag.tasks
    }
    return json.dumps(serialize_dag(dag), sort_keys=True), dag.user_defined_macros, dag.template_searchpath, tasks


@pytest.mark.parametrize("name", PLAIN)
def test_a_blueprint_is_the_same_after_it_was_written_down(cfg: Path, name: str) -> None:
    blueprint = of_text(cfg, name, PLAIN[name])
    text = encode(blueprint)
    assert text is not None
    assert text.isascii()
    assert "\n" not in text
    assert "\t" not in text
    assert decode(blueprint.path, text) == blueprint


@pytest.mark.parametrize("name", MORE)
def test_what_needs_more_than_plain_values_is_not_written_down(cfg: Path, name: str) -> None:
    assert encode(of_text(cfg, name, MORE[name])) is None


def test_blueprints_of_the_examples_are_the_same_after_they_were_written_down() -> None:
    found = [blueprint_of(each) for each in read_folder(ROOT / "cfg").workflows.values() if each.has_dag]
    texts = [(each, encode(each)) for each in found]
    plain = [(each, text) for each, text in texts if text is not None]
    assert len(plain) > 3
    for each, text in plain:
        assert decode(each.path, text) == each


@pytest.mark.parametrize("text", ["", "null", "[]", "{}", '{"jobs": 3}', '{"jobs": [[1]]}', '{"jobs": []}'])
def test_what_is_no_blueprint_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"blueprint|Expecting value"):
        decode(Path("a.yaml"), text)


def test_a_later_parse_makes_the_same_dags_and_checks_no_file(cfg: Path, checked: list[str]) -> None:
    first = {each.name: attributes(build.build_dag(blueprint_of(each))) for each in read_folder(cfg).workflows.values()}
    checked.clear()
    dags, diagnostics = build_dags(cfg)
    assert diagnostics == []
    assert checked == []
    assert {name: attributes(dag) for name, dag in dags.items()} == first


def test_arguments_from_the_configuration_are_what_airflow_looks_up(cfg: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__MAX_ACTIVE_TASKS_PER_DAG", "7")
    monkeypatch.setenv("AIRFLOW__CORE__MAX_CONSECUTIVE_FAILED_DAG_RUNS_PER_DAG", "3")
    blueprints = [of_text(cfg, name, PLAIN[name]) for name in ("script", "dates")]
    configured = build.configured_arguments()
    for each in blueprints:
        assert attributes(build.build_dag(each, configured)) == attributes(build.build_dag(each))
    assert [build.build_dag(each, configured).max_active_tasks for each in blueprints] == [7, 2]


def test_another_configuration_reaches_each_dag(cfg: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build_dags(cfg)
    monkeypatch.setenv("AIRFLOW__CORE__MAX_ACTIVE_TASKS_PER_DAG", "5")
    dags = build_dags(cfg)[0]
    assert [dags[name].max_active_tasks for name in ("script", "dates", "more_0")] == [5, 2, 5]


def edit(cfg: Path) -> None:
    """Write another content of the same size, and set all times that can be set."""
    before = (cfg / "script.yaml").stat()
    (cfg / "script.yaml").write_text(SCRIPT.replace("echo 1", "echo 2"))
    os.utime(cfg / "script.yaml", ns=(before.st_atime_ns, before.st_mtime_ns))


def replace(cfg: Path) -> None:
    (cfg / "new").write_text(SCRIPT.replace("echo 1", "echo 2"))
    (cfg / "new").replace(cfg / "script.yaml")


def link(cfg: Path) -> None:
    (cfg.parent / "elsewhere").write_text(SCRIPT.replace("echo 1", "echo 2"))
    (cfg / "script.yaml").unlink()
    (cfg / "script.yaml").symlink_to(cfg.parent / "elsewhere")


def rewrite(cfg: Path) -> None:
    """A shorter file in a longer one's place."""
    (cfg / "script.yaml").write_text("jobs: {a: {bash: echo 2}}\n")


@pytest.mark.parametrize("change", [edit, replace, link, rewrite])
def test_a_changed_file_is_what_runs(cfg: Path, checked: list[str], change: Callable[[Path], None]) -> None:
    change(cfg)
    assert command(cfg) == "echo 2"
    assert len(checked) == 1
    assert command(cfg) == "echo 2"
    assert len(checked) == 1
    (cfg / "script.yaml").unlink()
    (cfg / "script.yaml").write_text(SCRIPT)
    assert command(cfg) == "echo 1"


def test_two_files_of_one_content_are_two_workflows(cfg: Path, checked: list[str]) -> None:
    (cfg / "team").mkdir()
    (cfg / "team" / "copy.yaml").write_text(SCRIPT)
    (cfg / "team" / "_defaults.yaml").write_text("defaults: {retries: 4}\n")
    for _ in range(2):
        dags = build_dags(cfg)[0]
        assert [dags[name].get_task("a").retries for name in ("script", "copy")] == [0, 4]
        assert dags["copy"].fileloc == str(cfg / "team" / "copy.yaml")
        assert dags["copy"].template_searchpath == (str(cfg / "team"),)
    assert len(checked) == 1


def test_inherited_keys_that_change_reach_each_dag(cfg: Path, checked: list[str]) -> None:
    for retries in (5, 6):
        (cfg / "_defaults.yaml").write_text(f"defaults: {{retries: {retries}}}\n")
        assert build_dags(cfg)[0]["script"].get_task("a").retries == retries
    (cfg / "_defaults.yaml").unlink()
    assert build_dags(cfg)[0]["script"].get_task("a").retries == 0


def test_another_state_of_this_package_checks_all_again(
    cfg: Path, checked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(valid_files, "CODE", "of another version")
    build_dags(cfg)
    assert len(checked) == build_record.MIN_CACHED


def test_the_code_that_decides_what_a_dag_is_belongs_to_the_state_of_this_package(cfg: Path) -> None:
    made: list[Any] = [dag.timetable for dag in build_dags(cfg)[0].values()]
    made += [task for dag in build_dags(cfg)[0].values() for task in dag.tasks]
    made += [link for task in made for link in getattr(task, "operator_extra_links", ())]
    used = {type(each).__module__ for each in made} | {each.__module__ for each in (build.build_dag, WorkflowModel)}
    used |= {each.__module__ for each in (serialize_dag, text_problem, script_problem, CalendarTimetable)}
    expected = {each.removeprefix("batchy_provider.") for each in used if each.startswith("batchy_provider.")}
    assert {each.partition(".")[0] for each in expected} >= {"operators", "sensors", "dag_factory", "config", "core"}
    known = {line.partition(".py ")[0].strip("/").replace("/", ".") for line in code_digest._files()}
    assert expected <= known


def test_a_bundle_is_looked_for_at_each_parse(cfg: Path, checked: list[str]) -> None:
    def bundle() -> Any:
        dags, diagnostics = build_dags(cfg)
        return dags["bundle"].get_task("a").bundle if "bundle" in dags else diagnostics[0].message

    assert bundle() == str(cfg / "bundles" / "load")
    (cfg / "load").mkdir()
    (cfg / "load" / "script.sh").write_text("echo 2\n")
    assert bundle() == str(cfg / "load")
    assert checked == []
    (cfg / "load" / "script.sh").unlink()
    assert bundle() == f"the folder {cfg / 'load'} has no script.sh"


def test_a_file_that_cannot_be_read_is_no_dag_of_the_cache(cfg: Path, checked: list[str]) -> None:
    (cfg / "script.yaml").unlink()
    os.mkfifo(cfg / "script.yaml")
    dags, (diagnostic,) = build_dags(cfg)
    assert "script" not in dags
    assert diagnostic.message == "this is a FIFO (named pipe); expected a regular file"


def records(cfg: Path) -> list[Path]:
    (folder,) = (cfg.parent / "tmp").iterdir()
    return list(folder.iterdir())


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def another_script(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"echo 1", b"echo 9"))


def of_other_workflows(path: Path) -> None:
    """Keys that stand for the content of other files."""
    first, header, *lines = path.read_text().splitlines()
    keys = [line.partition(" ")[0] for line in lines]
    moved = [f"{key} {line.partition(' ')[2]}" for key, line in zip(keys[1:] + keys[:1], lines, strict=True)]
    path.write_text("\n".join([first, header, *moved]))


@pytest.mark.parametrize("damage", [cut_off, another_script, of_other_workflows])
def test_a_damaged_cache_is_not_used(cfg: Path, checked: list[str], damage: Callable[[Path], None]) -> None:
    for path in records(cfg):
        damage(path)
    assert command(cfg) == "echo 1"
    assert len(checked) == build_record.MIN_CACHED
    checked.clear()
    assert command(cfg) == "echo 1"
    assert checked == []


def test_a_cache_that_others_can_write_is_not_used(cfg: Path, checked: list[str]) -> None:
    records(cfg)[0].parent.chmod(0o720)
    assert command(cfg) == "echo 1"
    assert len(checked) == build_record.MIN_CACHED


def test_a_cache_of_another_user_is_not_used(cfg: Path, checked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    other = os.geteuid() + 1
    folder = records(cfg)[0].parent
    folder.rename(folder.with_name(f"batchy-stored-{other}"))
    monkeypatch.setattr(os, "geteuid", lambda: other)
    assert command(cfg) == "echo 1"
    assert len(checked) == build_record.MIN_CACHED


def test_keys_that_all_inherit_are_not_copied_without_limit(cfg: Path, checked: list[str]) -> None:
    (cfg / "_defaults.yaml").write_text(f"defaults: {{env: {{A: {'x' * 90_000}, B: {'y' * 20_000}}}}}\n")
    build_dags(cfg)
    assert sum(path.stat().st_size for path in records(cfg)) < 110_000


class Tomorrow(datetime):
    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Any:
        return datetime(2100, 1, 1, tzinfo=tz or timezone.utc)


def test_the_next_day_checks_only_what_depends_on_the_day(
    cfg: Path, checked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(valid_files, "datetime", Tomorrow)
    assert find_errors(cfg) == []
    assert len(checked) == 1  # `settings` has an initial date
    assert build_dags(cfg)[1] == []
    assert len(checked) == 2
    assert build_dags(cfg)[1] == find_errors(cfg) == []
    assert len(checked) == 2


ERRORS = {
    "bad_key": "jobs: {a: {bsh: echo}}\n",
    "bad_date": "initial_date: 2999-01-01\njobs: {a: {bash: echo}}\n",
    "bad_class": "jobs: {a: {operator: no.such.Class}}\n",
    "bad_yaml": "jobs: [",
    "bad_bundle": "jobs: {a: {bundle: nowhere}}\n",
    "bad_order": "jobs: {a: {bash: echo, after: [b]}, b: {bash: echo, after: [a]}}\n",
}


def test_a_file_with_aliases_is_cached_like_any_other(cfg: Path, checked: list[str]) -> None:
    (cfg / "script.yaml").write_text(
        "x-all: &all {retries: 2, params: &p {k: [1]}}\njobs: {a: {bash: echo, <<: *all}}\n"
    )
    assert build_dags(cfg)[0]["script"].get_task("a").retries == 2
    checked.clear()
    again = build_dags(cfg)[0]["script"]
    assert checked == []
    assert attributes(again) == attributes(build.build_dag(of_text(cfg, "script", (cfg / "script.yaml").read_text())))


@pytest.mark.parametrize(
    ("text", "uses", "is_cached"),
    [("é" * 250_000, 0, True), ("x" * 60_000, 1, True), ("y" * 9_000, 4, True), ("z" * 10_000, 10, False)],
)
def test_only_data_that_aliases_make_long_is_not_written_down(
    cfg: Path, checked: list[str], text: str, uses: int, is_cached: bool
) -> None:
    (cfg / "script.yaml").write_text(
        f"x-0: &long {text}\njobs: {{a: {{bash: echo 3, params: {{p: [{'*long, ' * uses}]}}}}}}\n"
    )
    for _ in range(2):
        assert command(cfg) == "echo 3"
    file = cfg / "script.yaml"
    reader = valid_files.CachingReader(cfg)
    key = reader.key(file)
    assert key is not None
    assert (key in reader._known) == is_cached


def test_errors_read_the_same_with_and_without_the_cache(cfg: Path, checked: list[str]) -> None:
    (cfg / "_defaults.yaml").write_text("ownr: me\n")
    for name, text in ERRORS.items():
        (cfg / f"{name}.yaml").write_text(text)

    def shown(diagnostics: list[Diagnostic]) -> list[str]:
        return sorted(map(str, diagnostics))

    for path in records(cfg):
        path.unlink()
    without = shown(build_dags(cfg)[1])
    assert len(without) == len(ERRORS) + 1
    for _ in range(2):
        assert shown(build_dags(cfg)[1]) == shown(find_errors(cfg)) == without


FIVE_JOBS = "schedule: '0 2 * * *'\nstart_date: 2026-01-01\njobs:\n" + "".join(
    f"  job_{number}: {{bash: echo}}\n" for number in range(5)
)


def test_a_later_parse_reads_each_file_once_and_runs_little_code_of_this_package(
    cfg: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it adds to the building of the same tasks by hand, for each further workflow."""
    counts = []
    for more in (20, 40):
        for number in range(more):
            (cfg / f"five_{number}.yaml").write_text(FIVE_JOBS)
        build_dags(cfg)
        opened, calls = list[str](), 0
        real = os.open

        def spy(path: Any, *rest: Any, real: Any = real, opened: list[str] = opened, **more: Any) -> int:
            opened.append(os.fspath(path))
            return int(real(path, *rest, **more))

        def count(frame: FrameType, event: str, _: object) -> None:
            nonlocal calls
            calls += event == "call" and "/batchy_provider/" in frame.f_code.co_filename

        with monkeypatch.context() as patch:
            patch.setattr(os, "open", spy)
            before = sys.getprofile()
            sys.setprofile(count)
            try:
                build_dags(cfg)
            finally:
                sys.setprofile(before)
        files = [path for path in opened if "/five_" in path]
        assert len(files) == len(set(files)) == more
        counts.append(calls)
    assert (counts[1] - counts[0]) / 20 < 85
