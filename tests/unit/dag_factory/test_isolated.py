# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Classes that a file names are imported in a process of their own: bounded, and without what the server knows."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from pathlib import Path

import pytest

from batchy_provider.dag_factory.isolated import check_classes

MODULE = """\
import os, subprocess, sys
from pathlib import Path
with Path({seen!r}).open("a") as file:
    print(os.getpid(), file=file)
    for name, value in os.environ.items():
        print(name, value, file=file)
{more}
from airflow.sdk import BaseOperator
class Good(BaseOperator):
    pass
"""


@pytest.fixture
def seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the module wrote when it was imported."""
    (tmp_path / "path").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path / "path"))
    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "postgresql://u:very-secret@db/airflow")
    monkeypatch.setenv("AIRFLOW_CONN_REDIS_DEFAULT", "redis://:very-secret@redis")
    monkeypatch.setenv("AIRFLOW__API_AUTH__JWT_SECRET", "very-secret")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very-secret")
    return tmp_path / "seen"


def write(seen: Path, name: str, operator: str, more: str = "") -> Path:
    cfg = seen.parent / "cfg"
    cfg.mkdir(exist_ok=True)
    (seen.parent / "path" / f"{operator.partition('.')[0]}.py").write_text(MODULE.format(seen=str(seen), more=more))
    (cfg / f"{name}.yaml").write_text(f"jobs:\n  k: {{operator: {operator}, args: {{}}}}\n")
    return cfg


@pytest.mark.slow
def test_errors_are_found_elsewhere_and_without_secrets(seen: Path) -> None:
    write(seen, "good", "own_one.Good")
    cfg = write(seen, "bad", "own_one.Bad")
    (cfg / "none.yaml").write_text("jobs:\n  k: {operator: nowhere_at_all.X}\n")
    diagnostics = check_classes(cfg, ["good", "bad", "none"])
    assert [(Path(diagnostic.file).stem, diagnostic.line, diagnostic.message) for diagnostic in diagnostics] == [
        ("bad", 2, "own_one has no 'Bad'"),
        ("none", 2, "there is no module 'nowhere_at_all'"),
    ]
    text = seen.read_text()
    assert "very-secret" not in text
    assert str(os.getpid()) != text.split()[0]
    assert not {"own_one", "nowhere_at_all"} & sys.modules.keys()


def runs(group: int) -> list[str]:
    """Return the processes of a group that run; the dead count for `killpg` until somebody reaps them."""
    found = []
    for place in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            stat = place.read_text(errors="replace").rpartition(")")[2].split()
            if int(stat[2]) == group and stat[0] not in "ZX":
                found.append(place.parent.name)
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("more", "timeout", "message"),
    [
        ("subprocess.Popen(['sleep', '300']); import time; time.sleep(300)", 8.0, "not be checked within 8 seconds"),
        ("os._exit(0)", 60.0, "ended early"),
        ("os.kill(os.getpid(), 9)", 60.0, "ended early"),
        ("raise SystemExit(0)", 60.0, "SystemExit"),
    ],
)
def test_a_module_that_hangs_or_dies_is_an_error_and_leaves_nothing(
    seen: Path, more: str, timeout: float, message: str
) -> None:
    cfg = write(seen, "bad", "own_two.Good", more)
    begun = time.monotonic()
    (diagnostic,) = check_classes(cfg, ["bad"], timeout=timeout)
    assert message in diagnostic.message
    assert diagnostic.file == str(cfg / "bad.yaml")
    assert time.monotonic() - begun < 120
    if seen.exists():
        group = int(seen.read_text().split()[0])
        while runs(group):  # a signal takes a moment
            assert time.monotonic() - begun < 120
            time.sleep(0.05)
