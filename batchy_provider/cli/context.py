# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""What every command shares: its context (store, services, workflow files, output), common options, exit codes."""

from __future__ import annotations

import argparse
import getpass
import os
import socket
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar, cast

from batchy_provider.cli.command_parser import COMMAND_PARSER
from batchy_provider.exceptions import BatchyError, ConfigError, RedisUnavailableError

if TYPE_CHECKING:
    from batchy_provider.cli.output import Output
    from batchy_provider.core.values import Actor
    from batchy_provider.services.answers import AuditLog
    from batchy_provider.services.archive import ArchiveService
    from batchy_provider.services.composition import Services
    from batchy_provider.services.fill_requests import DagRuns
    from batchy_provider.state.store import Store

T = TypeVar("T")

EXIT_OK, EXIT_ERROR, EXIT_USAGE, EXIT_TIMEOUT, EXIT_INTERRUPTED = 0, 1, 2, 124, 130
EXIT_NOTHING_TO_LOAD = 3


class UsageError(BatchyError):
    """The arguments are wrong in a way that argparse cannot detect."""


Commands = Any  # argparse does not export the type that add_subparsers returns


def common_options() -> argparse.ArgumentParser:
    """Return the options that every command takes, before its name and after it."""
    # SUPPRESS: the default of the command's parser must not overwrite an option before the command.
    options = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    where = options.add_argument_group("where the state is")
    where.add_argument("--redis-url", metavar="URL", help="redis://, rediss://, redis+cluster://, redis+sentinel://")
    where.add_argument("--connection", metavar="ID", help="use this Airflow connection instead (loads Airflow)")
    where.add_argument("--cfg", metavar="DIR", type=Path, help="folder of the workflow files (default: cfg)")
    options.add_argument(
        "-o", "--output", choices=("table", "plain", "json", "yaml"), help="output format (default: table)"
    )
    return options


def add_command(
    commands: Commands, name: str, function: Any, help: str, example: str = "", more: str = ""
) -> argparse.ArgumentParser:
    """Add a command to the parser.

    :param function: takes the context and the arguments, returns the exit code.
    :param help: what it does, one sentence without a full stop.
    :param example: calls, one on each line.
    :param more: what its own help says after the first sentence, in whole sentences.
    """
    parser = commands.add_parser(
        name,
        help=help,
        description=f"{help[0].upper()}{help[1:]}." + (f"\n{more}" if more else ""),
        epilog=f"example:\n{_indented(example)}" if example else None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[common_options()],
    )
    parser.set_defaults(function=function, **{COMMAND_PARSER: parser})
    return cast("argparse.ArgumentParser", parser)


def _indented(text: str) -> str:
    return "".join(f"  {line}\n" for line in text.splitlines())


def add_reason(parser: argparse.ArgumentParser) -> None:
    """Add the options for the record of a change: who made it, and why."""
    parser.add_argument("--why", metavar="TEXT", help="reason for the record")
    parser.add_argument("--by", metavar="NAME", default=None, help="name for the record (default: your user name)")


def for_each(names: Iterable[str], work: Callable[[str], T]) -> tuple[list[T], list[str]]:
    """Call a function for many workflows; an error of one does not stop the others.

    :returns: the results, and the messages of the errors.
    :raises RedisUnavailableError: Redis does not answer, which stops all of them.
    """
    done: list[T] = []
    errors: list[str] = []
    for name in names:
        try:
            done.append(work(name))
        except RedisUnavailableError:
            raise
        except BatchyError as error:
            errors.append(str(error) if name in str(error) else f"{name}: {error}")
    return done, errors


def end(context: Context, errors: Sequence[str]) -> int:
    """Print the errors, and return the exit code."""
    for error in errors:
        context.output.note(f"batchy: {error}")
    return EXIT_ERROR if errors else EXIT_OK


def actor(arguments: argparse.Namespace) -> Actor:
    """Return who makes the change, and on which machine."""
    from batchy_provider.core.values import Actor

    try:
        name = arguments.by or getpass.getuser()
    except (OSError, KeyError):  # the user id has no name, as in a container
        name = f"uid {os.getuid()}"
    return Actor(str(name), "cli", socket.gethostname())


class Context:
    """Opens what a command needs when it first asks for it, and closes it at the end.

    :param arguments: the parsed command line.
    """

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._arguments = arguments
        self._store: Store | None = None

    def __enter__(self) -> Context:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._store is not None:
            self._store.backend.client.close()
            if error is not None and not isinstance(error, BatchyError):
                _raise_if_of_redis(error)

    @cached_property
    def output(self) -> Output:
        """Prints the answer."""
        from batchy_provider.cli.output import Output

        return Output(getattr(self._arguments, "output", "table"))

    @property
    def services(self) -> Services:
        """The services that the commands call.

        :raises ConfigError: the user named a folder of workflow files that does not exist.
        """
        if self.cfg_given and not self.cfg.is_dir():
            raise ConfigError(f"there is no folder {self.cfg} (--cfg, BATCHY_CFG)")
        return self.redis_services

    @cached_property
    def redis_services(self) -> Services:
        """The same services, for commands that read no workflow file: the folder need not exist."""
        from batchy_provider.cli.airflow_readers import airflow_reader, lost_tries
        from batchy_provider.cli.result_store import open_archive, open_results

        with_airflow = bool(getattr(self._arguments, "connection", None))
        if not with_airflow:
            from batchy_provider.cli.redis_import import import_redis

            import_redis()
        from batchy_provider.services.composition import Services

        return Services(
            store=self._open_store,
            cfg=self.cfg,
            results=lambda: open_results(self._arguments),
            archive=lambda: open_archive(self._arguments),
            audit=self._audit,
            dag_runs=self.dag_runs,
            airflow=airflow_reader(self.output.note) if with_airflow else None,
            lost_tries=lost_tries if with_airflow else None,
        )

    @property
    def archive(self) -> ArchiveService:
        """The archive in the result store.

        :raises ArchiveError: the result store cannot be opened.
        """
        archive = self.services.archive
        assert archive is not None  # see `services`
        return archive

    @property
    def _audit(self) -> AuditLog | None:
        """Airflow's audit log, if the user named an Airflow connection."""
        if not getattr(self._arguments, "connection", None):
            return None
        from batchy_provider.hooks.audit import log_in_airflow

        return log_in_airflow

    @property
    def dag_runs(self) -> DagRuns | None:
        """The runs of this machine's Airflow, if the user named an Airflow connection."""
        if not getattr(self._arguments, "connection", None):
            return None
        from batchy_provider.hooks.fill_runs import AirflowDagRuns

        return AirflowDagRuns()

    def _open_store(self) -> Store:
        """Return the state in the Redis that the user named.

        :raises ConfigError: the address is wrong.
        :raises UsageError: the user named no Redis.
        """
        if self._store is None:
            url = getattr(self._arguments, "redis_url", None)
            connection = getattr(self._arguments, "connection", None)
            if url and connection:
                raise UsageError("give --redis-url or --connection, not both")
            retry = getattr(self._arguments, "retry_timeout", None)
            seconds = None if retry is None else retry.total_seconds()
            self._store = _store_of_connection(connection, seconds) if connection else _store_of_url(url, seconds)
            from batchy_provider.cli.result_store import archiver_of

            self._store.archive = archiver_of(self._arguments, lambda text: self.output.note(f"batchy: {text}"))
        return self._store

    @property
    def cfg(self) -> Path:
        """Folder of the workflow files; it may not exist."""
        return Path(self.cfg_given or "cfg")

    @property
    def cfg_given(self) -> Path | None:
        """Folder of the workflow files that the user named, if any."""
        named = getattr(self._arguments, "cfg", None) or os.environ.get("BATCHY_CFG")
        return Path(named) if named else None


def _store_of_url(url: str | None, retry_seconds: float | None) -> Store:
    url = url or os.environ.get("BATCHY_REDIS_URL")
    if not url:
        raise UsageError(
            "which Redis? Give --redis-url (redis://host:6379/0) or set BATCHY_REDIS_URL, or name an Airflow "
            "connection with --connection"
        )
    from redis.exceptions import RedisError

    from batchy_provider.state import connections as connect

    address = connect.parse_url(url)
    try:
        return connect.store(address, connect.client(address, client_name="batchy-cli"), retry_seconds=retry_seconds)
    except RedisError as error:  # the client of a Cluster connects at once
        raise RedisUnavailableError(f"Redis cannot be used: {error}") from error


def _store_of_connection(conn_id: str, retry_seconds: float | None) -> Store:
    from batchy_provider.hooks.batchy import BatchyHook
    from batchy_provider.state.transaction import RETRY_SECONDS

    try:
        # A person is waiting: give up earlier than a task at night.
        return BatchyHook(conn_id, patience=RETRY_SECONDS if retry_seconds is None else retry_seconds).get_store()
    except BatchyError:
        raise
    except Exception as error:  # Airflow raises many types of errors for a missing connection
        raise ConfigError(f"Airflow connection {conn_id!r} cannot be used: {error}") from error


def _raise_if_of_redis(error: BaseException) -> None:
    from redis.exceptions import RedisError

    if isinstance(error, RedisError):
        raise RedisUnavailableError(f"Redis cannot be used: {error}") from error
