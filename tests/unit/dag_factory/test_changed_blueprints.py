# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""A later parse never builds the DAG of an older file, of another state, or of a damaged cache."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime, timezone, tzinfo
from pathlib import Path
from typing import Any

import pytest
from blueprint_files import SCRIPT, attributes, command, folder_of_blueprints, of_text, watch_checks

from batchy_provider.bundles.script import script_problem
from batchy_provider.compat import serialize_dag
from batchy_provider.config import code_digest, valid_files
from batchy_provider.config.diagnostics import Diagnostic
from batchy_provider.config.model import WorkflowModel
from batchy_provider.core.storable_text import text_problem
from batchy_provider.dag_factory import build, build_dags, build_record
from batchy_provider.dag_factory.loader import find_errors
from batchy_provider.timetables.calendar import CalendarTimetable


@pytest.fixture
def cfg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Enough workflows for blueprints to be used, and the one that tests edit, `script`."""
    return folder_of_blueprints(tmp_path, monkeypatch)


@pytest.fixture
def checked(cfg: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The workflows whose models were made since the first parse."""
    return watch_checks(cfg, monkeypatch)


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
