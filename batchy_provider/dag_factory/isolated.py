# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Check the Python classes that a workflow file names, in a separate process.

A file may name any class of any module, and importing a module runs its code. A server that accepts uploaded files must
not do that itself. The separate process gets a small environment without the server's settings, connections and keys, a
temporary folder as its home, and a time limit. Its child processes are stopped with it.
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
    """Build the DAGs of some workflows in another process and return their diagnostics.

    :param folder: the folder of the workflow files.
    :param timeout: seconds; after them the process is killed, and each workflow gets a diagnostic.
    :param env: more environment variables, such as Airflow options that affect a DAG.
    """
    if not workflows:
        return []
    with tempfile.TemporaryDirectory(prefix="batchy-classes-", ignore_cleanup_errors=True) as scratch:
        answer = Path(scratch, "answer.json")
        request = json.dumps({"folder": str(folder), "workflows": [*workflows], "answer": str(answer)})
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
            process.communicate(request.encode(), timeout=timeout)
        except subprocess.TimeoutExpired:
            return _of_each(folder, workflows, f"its classes could not be checked within {timeout:g} seconds")
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

    paths = [find_file(folder, name) or folder / name for name in workflows]
    text = f"{message}; does one of their modules do slow work when it is imported?"
    return [Diagnostic.of_file(path, Code.UNEXPECTED, text) for path in paths]


def _environment(scratch: str, more: Mapping[str, str]) -> dict[str, str]:
    return {
        **{name: os.environ[name] for name in _PASSED_ON if name in os.environ},
        "HOME": scratch,
        "TMPDIR": scratch,
        "AIRFLOW_HOME": scratch,
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        # An entry of `sys.path` is text, and may be empty.
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if os.path.isabs(path)),  # noqa: PTH117
        "PYTHONDONTWRITEBYTECODE": "1",
        **more,
    }


def main() -> None:
    """Read a request as JSON from stdin; write the diagnostics as JSON to the file that it names."""
    from dataclasses import asdict

    from batchy_provider.dag_factory.loader import build_one

    request = json.load(sys.stdin)
    found = [
        asdict(diagnostic) for name in request["workflows"] for diagnostic in build_one(request["folder"], name)[1]
    ]
    # Replaced in one step: a process that ends early leaves no answer.
    draft = Path(request["answer"] + ".draft")
    draft.write_text(json.dumps(found))
    draft.replace(request["answer"])


if __name__ == "__main__":
    main()
