# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""
Checks of the Python classes that a workflow file names, in a process of their own.

A file may name any class of any module, and importing a module runs it. A server that takes files from others must not
do that: this process gets a short environment without the server's settings, connections and keys, a scratch folder as
its home, and a limit of time. What it leaves behind is stopped with it.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from batchy_provider.config.diagnostics import Code, Diagnostic

TIMEOUT_SECONDS = 60.0
_PASSED_ON = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "LD_LIBRARY_PATH", "SSL_CERT_FILE")


def check_classes(
    folder: Path, workflows: Sequence[str], *, timeout: float = TIMEOUT_SECONDS, env: Mapping[str, str] | None = None
) -> list[Diagnostic]:
    """
    Build the DAGs of some workflows in another process, and return what is wrong with them.

    :param folder: of the workflow files.
    :param timeout: seconds; then the process is killed, and that is a diagnostic of each workflow.
    :param env: further variables for it, such as Airflow's options that matter to a DAG.
    """
    if not workflows:
        return []
    with tempfile.TemporaryDirectory(prefix="batchy-classes-", ignore_cleanup_errors=True) as scratch:
        answer = Path(scratch, "answer.json")
        asked = json.dumps({"folder": str(folder), "workflows": [*workflows], "answer": str(answer)})
        process = subprocess.Popen(  # nosec B603  # our own interpreter, no shell
            [sys.executable, "-m", "batchy_provider.dag_factory.isolated"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=scratch,
            env=_environment(scratch, env or {}),
            start_new_session=True,
        )
        try:
            process.communicate(asked.encode(), timeout=timeout)
        except subprocess.TimeoutExpired:
            return _of_each(folder, workflows, f"its classes were not checked within {timeout:g} seconds")
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        try:
            found = json.loads(answer.read_bytes())
            return [Diagnostic(**diagnostic) for diagnostic in found]
        except (OSError, ValueError, TypeError):
            text = f"the process that checks its classes ended early (exit code {process.returncode})"
            return _of_each(folder, workflows, text)


def _of_each(folder: Path, workflows: Sequence[str], message: str) -> list[Diagnostic]:
    from batchy_provider.config.reader import find_file

    places = [find_file(folder, name) or folder / name for name in workflows]
    text = f"{message}; does a module that it names do much when it is imported?"
    return [Diagnostic.of_file(place, Code.UNEXPECTED, text) for place in places]


def _environment(scratch: str, more: Mapping[str, str]) -> dict[str, str]:
    return {
        **{name: os.environ[name] for name in _PASSED_ON if name in os.environ},
        "HOME": scratch,
        "TMPDIR": scratch,
        "AIRFLOW_HOME": scratch,
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if os.path.isabs(path)),  # noqa: PTH117
        "PYTHONDONTWRITEBYTECODE": "1",
        **more,
    }


def main() -> None:
    """Answer one question: JSON on stdin, diagnostics as JSON in the file that it names."""
    from dataclasses import asdict

    from batchy_provider.dag_factory.loader import build_one

    asked = json.load(sys.stdin)
    found = [asdict(diagnostic) for name in asked["workflows"] for diagnostic in build_one(asked["folder"], name)[1]]
    # Written at once: what ends early leaves no answer.
    draft = Path(asked["answer"] + ".draft")
    draft.write_text(json.dumps(found))
    draft.replace(asked["answer"])


if __name__ == "__main__":
    main()
