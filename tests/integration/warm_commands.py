# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The commands `airflow` and `batchy` for a shell, each run by a fork of one process that has imported them.

One `airflow` command takes four seconds of a processor, nearly all of them to import. What a fork runs is the command's
own entry point, with the arguments, the environment, the folder, the input and the outputs of the caller.

As a program, this file is that process, ``python warm_commands.py SOCKET``, or one of the commands:
``python warm_commands.py SOCKET airflow version``.
"""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

SIZE = 1 << 20


def ask(path: str, command: list[str]) -> int:
    """Have a command run, and return its exit code."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        told = repr((command, str(Path.cwd()), dict(os.environ))).encode()
        socket.send_fds(connection, [told], [0, 1, 2])
        connection.shutdown(socket.SHUT_WR)
        said = connection.recv(16)
    return int(said) if said else 1


def serve(path: str) -> None:
    """Import what the commands need, then run each that is asked for in a fork."""
    import gc
    import importlib
    import signal

    for name in (
        "airflow.__main__",
        "airflow.cli.commands.backfill_command",
        "airflow.cli.commands.dag_command",
        "airflow.providers.standard.triggers.temporal",
        "batchy_provider.cli.main",
        "batchy_provider.config.reader",
        "batchy_provider.state.connections",
        "batchy_provider.state.store",
        "rich.console",
        "rich.table",
    ):
        importlib.import_module(name)
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the forks
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        while True:
            connection, _ = listener.accept()
            if os.fork() == 0:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # a fork waits for its own programs
                listener.close()
                _run(connection)
            connection.close()


def _run(connection: socket.socket) -> None:
    """Run one command as its caller would have, and tell its exit code."""
    import ast
    import traceback

    told, files, _, _ = socket.recv_fds(connection, SIZE, 3)
    while more := connection.recv(SIZE):
        told += more
    command, folder, environment = ast.literal_eval(told.decode())
    for target, file in enumerate(files):
        os.dup2(file, target)
        os.close(file)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = command
    code: object = 1
    try:
        if command[0] == "airflow":
            from airflow.__main__ import main
        else:
            from batchy_provider.cli.main import main
        code = main()
    except SystemExit as ended:
        code = ended.code
    except BaseException:
        traceback.print_exc()
    if isinstance(code, str):
        print(code, file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    connection.send(str(code if isinstance(code, int) else int(code is not None)).encode())
    os._exit(0)


if __name__ == "__main__":
    if len(sys.argv) > 2:
        sys.exit(ask(sys.argv[1], sys.argv[2:]))
    serve(sys.argv[1])
