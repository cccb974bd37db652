# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""``./run matrix``: run the tests on several versions of Airflow, Python and Redis, and write a table.

Needs only the standard library, because it runs with any Python. Each pair of versions gets a separate environment,
made by ``./run``.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "versions.md"
BEGIN, END = "<!-- matrix: written by ./run matrix -->", "<!-- end of matrix -->"
COLUMNS = ("Airflow", "Python", "redis-py", "servers", "tests", "passed", "skipped", "failed", "seconds", "date")
KEY = ("Airflow", "Python", "servers", "tests")
"""What a later run of the same replaces."""

AIRFLOWS = ("3.1", "3.2", "3.3", "3.4")
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
DEFAULT_AIRFLOW = "3.3"
"""The one that constraints.txt pins."""
# "lowest", constraints/airflow-lowest.txt, is the least that pyproject.toml allows: asked for by name.
NOT_TOGETHER = {("3.4", "3.10"): "Airflow 3.4 needs Python 3.11"}

ABOUT = """
import json, sys
from importlib.metadata import version
from batchy_provider.local.servers import valkey_binary
names = {"Airflow": "apache-airflow", "redis-py": "redis"}
about = {column: version(name) for column, name in names.items()}
about["Python"] = ".".join(map(str, sys.version_info[:3]))
print(json.dumps({**about, "valkey": str(valkey_binary())}))
"""

Row = dict[str, str]


def main(arguments: Sequence[str]) -> int:
    """Run what the arguments ask for; 0 if every test of every pair passed."""
    own, pytest = _split(arguments)
    options = _parser().parse_args(own)
    pairs = list(_pairs(options.airflow, options.python, product=options.product))
    pytest = pytest or ["tests/unit"]
    if not pairs:
        print("./run matrix: none of these Airflows runs on any of these Pythons.", file=sys.stderr)
        return 2
    failed = False
    for airflow, python in pairs:
        for redis in options.redis or [None]:
            row = _run(airflow, python, redis, pytest)
            if row is None:
                failed = True
                continue
            failed |= row["failed"] != "0"
            print(_table([row]), flush=True)
            if not options.no_page:
                _write_page(row)
    return int(failed)


def _split(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Tell this script's arguments from pytest's, which stand behind ``--``."""
    found = list(arguments)
    if "--" not in found:
        return found, []
    at = found.index("--")
    return found[:at], found[at + 1 :]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="./run matrix",
        usage="./run matrix [OPTIONS] [-- PYTEST...]",
        description="Run the tests (default: tests/unit) on several versions, and note them in docs/versions.md.",
        epilog="Each Airflow and each Python is taken once, in the order given; --product takes all pairs.",
    )
    lists = (
        ("--airflow", AIRFLOWS, f"default {','.join(AIRFLOWS)}"),
        ("--python", PYTHONS, f"default {','.join(PYTHONS)}"),
        ("--redis", (), "programs that are tested beside Valkey, one after the other; default redis-server, if there"),
    )
    for name, default, help in lists:
        parser.add_argument(name, type=_list, default=default, metavar="LIST", help=help)
    parser.add_argument("--product", action="store_true", help="every Airflow on every Python")
    parser.add_argument("--no-page", action="store_true", help="leave docs/versions.md as it is")
    return parser


def _list(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _pairs(airflows: Sequence[str], pythons: Sequence[str], *, product: bool) -> Iterable[tuple[str, str]]:
    if product:
        wanted: Iterable[tuple[str, str]] = itertools.product(airflows, pythons)
    else:
        length = max(len(airflows), len(pythons))
        wanted = ((airflows[i % len(airflows)], pythons[i % len(pythons)]) for i in range(length))
    for pair in wanted:
        if why := NOT_TOGETHER.get(pair):
            print(f"./run matrix: {why}; passed over.", file=sys.stderr)
        else:
            yield pair


def _run(airflow: str, python: str, redis: str | None, pytest: Sequence[str]) -> Row | None:
    """Run the tests once; None if the environment could not be made, or pytest did not come to an end."""
    program = _find_python(python)
    if program is None:
        print(f"./run matrix: there is no Python {python} here; install it, or leave it out.", file=sys.stderr)
        return None
    server = None if redis is None else shutil.which(redis)
    if redis is not None and server is None:
        print(f"./run matrix: there is no program {redis!r}.", file=sys.stderr)
        return None
    venv = ROOT / f".venv-airflow-{airflow}-python-{python}"
    environment = {**os.environ, "BATCHY_PYTHON": program, "BATCHY_VENV": venv.name}
    environment.pop("BATCHY_AIRFLOW", None)
    if airflow != DEFAULT_AIRFLOW:
        environment["BATCHY_AIRFLOW"] = airflow
    if server is not None:
        environment["BATCHY_TEST_REDIS_SERVER"] = server
    print(f"./run matrix: Airflow {airflow} on Python {python} ...", file=sys.stderr, flush=True)
    if subprocess.run(["./run", "setup"], cwd=ROOT, env=environment, check=False).returncode:
        return None
    about = json.loads(subprocess.check_output([venv / "bin" / "python", "-c", ABOUT], cwd=ROOT, text=True))
    servers = [about.pop("valkey"), server or shutil.which("redis-server")]
    about["servers"] = ", ".join(_server_version(each) for each in servers if each)
    with tempfile.TemporaryDirectory(prefix="batchy-matrix-") as folder:
        report = Path(folder) / "report.xml"
        subprocess.run(["./run", "test", *pytest, f"--junitxml={report}"], cwd=ROOT, env=environment, check=False)
        if not report.exists():
            return None
        counts = _counts(report)
    date = datetime.now(timezone.utc).strftime("%Y-%m-%d")
    return {**about, **counts, "tests": " ".join(_paths(pytest)), "date": date}


def _paths(pytest: Sequence[str]) -> list[str]:
    """Return what of pytest's arguments says which tests: paths, and what is left out of them."""
    said = []
    for before, each in zip(["", *pytest], pytest, strict=False):
        if each.startswith("--ignore=") or before == "--ignore":
            said.append(f"without {each.removeprefix('--ignore=')}")
        elif (ROOT / each.partition("::")[0]).exists():
            said.append(each)
    return said


def _find_python(version: str) -> str | None:
    """Return a Python of that version which starts: being there is not enough, see ``./run``."""
    kept_by_pyenv = sorted((Path.home() / ".pyenv" / "versions").glob(f"{version}.*/bin/python"))
    for candidate in (f"python{version}", *map(str, kept_by_pyenv)):
        check = "import sys; print('%d.%d' % sys.version_info[:2])"
        try:
            done = subprocess.run([candidate, "-c", check], capture_output=True, text=True, check=False)
        except OSError:
            continue
        if done.stdout.strip() == version:
            return shutil.which(candidate) or candidate
    return None


def _server_version(program: str) -> str:
    """Return ``Redis 7.0.15`` for what the program says: ``Redis server v=7.0.15 sha=…``."""
    words = subprocess.check_output([program, "--version"], text=True).split()
    version = next((word[2:] for word in words if word.startswith("v=")), "?")
    return f"{words[0].title()} {version}"


def _counts(report: Path) -> Row:
    """Count what pytest's JUnit file tells; an error of a fixture is a failure here."""
    suites = list(ElementTree.parse(report).getroot().iter("testsuite"))  # noqa: S314 - pytest's own, just written
    total, skipped, failed = (
        sum(int(suite.get(name, "0")) for suite in suites for name in names)
        for names in (("tests",), ("skipped",), ("failures", "errors"))
    )
    seconds = sum(float(suite.get("time", "0")) for suite in suites)
    return {
        "passed": str(total - skipped - failed),
        "skipped": str(skipped),
        "failed": str(failed),
        "seconds": f"{seconds:.0f}",
    }


def _write_page(row: Row) -> None:
    """Put a row into the page's table, in the place of what an earlier run of the same found."""
    text = PAGE.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN, 1)
    table, after = rest.split(END, 1)
    unchanged = [each for each in _rows(table) if [each[name] for name in KEY] != [row[name] for name in KEY]]
    rows = sorted([*unchanged, row], key=lambda each: [_numbers(each[name]) for name in ("tests", "Airflow", "Python")])
    PAGE.write_text(f"{before}{BEGIN}\n\n{_table(rows)}\n\n{END}{after}", encoding="utf-8")


def _rows(table: str) -> list[Row]:
    lines = [line for line in table.splitlines() if line.startswith("|")][2:]
    return [dict(zip(COLUMNS, [cell.strip() for cell in line.strip("|").split("|")], strict=True)) for line in lines]


def _numbers(text: str) -> list[tuple[int, str]]:
    """Sort 3.9 before 3.10."""
    return [(int(part) if part.isdigit() else 0, part) for part in text.split(".")]


def _table(rows: Sequence[Row]) -> str:
    lines = [COLUMNS, ["---"] * len(COLUMNS), *([row[name] for name in COLUMNS] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
