# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""``--api`` and ``--token-file``: ask the REST API instead of Redis."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from batchy_provider.cli.context import UsageError
from batchy_provider.exceptions import BatchyError

if TYPE_CHECKING:
    import httpx

    from batchy_provider.core.vocabulary import VerdictCode
    from batchy_provider.core.waits import Verdict

_POLL_SECONDS = 30.0
_QUESTION_SECONDS = 60.0
_CHANGE_SECONDS = 300.0


class RemoteError(BatchyError):
    """A server does not answer, or refuses a change."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say where the server is."""
    there = parser.add_argument_group("over the REST API, instead of Redis")
    there.add_argument("--api", metavar="URL", help="Airflow's address, http://airflow:8080 (or BATCHY_API)")
    there.add_argument(
        "--token-file", metavar="FILE", type=Path, help="file with an API token of Airflow (or BATCHY_TOKEN)"
    )


def address(arguments: argparse.Namespace) -> str | None:
    """Return the server's address; None if the command uses Redis."""
    if any(getattr(arguments, name, None) for name in ("redis_url", "connection")):
        return None
    return arguments.api or os.environ.get("BATCHY_API") or None


class ServerVerdicts:
    """Ask a server about one wait. The server answers as soon as the wait is over, at the latest after some seconds.

    :param url: of Airflow.
    """

    def __init__(self, arguments: argparse.Namespace, url: str) -> None:
        self._url = url
        self._workflow: str = arguments.workflow
        self._path = _path(url, self._workflow, "wait")
        self._parameters = _parameters(arguments)
        self._client = _client(arguments, _POLL_SECONDS + 30)

    def ask(self, seconds: float) -> list[tuple[str, Verdict]]:
        """Wait up to some seconds for the end of the wait, then return the verdict.

        :raises NoAnswerError: the server does not answer now.
        :raises UsageError: the server refuses the request.
        """
        import httpx

        from batchy_provider.core.waits import Verdict
        from batchy_provider.services.wait_answers import load_intervals
        from batchy_provider.services.waiter import NoAnswerError

        try:
            answer = self._client.get(self._path, params={**self._parameters, "timeout": min(seconds, _POLL_SECONDS)})
        except httpx.TransportError as error:
            raise NoAnswerError(f"{self._url} cannot be reached: {error}") from error
        if (reason := _why_unavailable(answer)) is not None:
            raise NoAnswerError(reason)
        found = answer.json()
        # Keep the day and the due time with which the wait began, so that a wait across midnight can end.
        self._parameters |= {name: found[name] for name in ("day", "due", "timezone") if found.get(name)}
        if "due" in self._parameters and not found.get("due"):
            raise UsageError(f"{self._url} has an older version, which does not know --due")
        verdict = Verdict(
            state=found["state"],
            text=found["text"],
            batch_id=found["batch_id"],
            code=_code(found.get("code")),
            intervals=load_intervals(found.get("intervals") or ()),
        )
        return [(self._workflow, verdict)]

    def close(self) -> None:
        """Close the connection."""
        self._client.close()


def get(arguments: argparse.Namespace, url: str, what: str, parameters: Mapping[str, Any] | None = None) -> Any:
    """Ask a server one question about a workflow, and return the answer.

    :param url: of Airflow.
    :param what: the route below the workflow, such as ``why``.
    :raises RemoteError: the server cannot be reached, or does not answer the question.
    """
    import httpx

    with _client(arguments, _QUESTION_SECONDS) as client:
        try:
            answer = client.get(_path(url, arguments.workflow, what), params=parameters)
        except httpx.TransportError as error:
            raise RemoteError(f"{url} cannot be reached: {error}") from error
    return _content(answer)


def post(arguments: argparse.Namespace, url: str, what: str, body: Mapping[str, Any]) -> Any:
    """Send one change of a workflow to a server, and return the answer.

    :param url: of Airflow.
    :param what: the route below the workflow, such as ``fill``.
    :raises RemoteError: the server cannot be reached, or refuses the change.
    """
    import httpx

    with _client(arguments, _CHANGE_SECONDS) as client:
        try:
            answer = client.post(_path(url, arguments.workflow, what), json=body)
        except httpx.TransportError as error:
            raise RemoteError(f"{url} cannot be reached: {error}. Whether it has done this is not known") from error
    return _content(answer)


def _content(answer: httpx.Response) -> Any:
    if answer.is_success:
        return answer.json()
    raise (UsageError if answer.status_code == 401 else RemoteError)(_error_text(answer))


def _path(url: str, workflow: str, what: str) -> str:
    return f"{url.rstrip('/')}/batchy/api/v1/workflows/{quote(workflow, safe='')}/{what}"


def _client(arguments: argparse.Namespace, timeout: float) -> httpx.Client:
    import httpx

    return httpx.Client(timeout=timeout, headers={"Authorization": f"Bearer {_token(arguments)}"})


def _code(code: str | None) -> VerdictCode | None:
    """Return the code of an answer; None from a server of an older version, or with a code that is not known here."""
    from batchy_provider.core.vocabulary import VerdictCode

    return next((each for each in VerdictCode if each == code), None)


def _parameters(arguments: argparse.Namespace) -> dict[str, Any]:
    parameters: dict[str, Any] = {"on_failed": arguments.on_failed, "job": arguments.job}
    if arguments.within is not None:
        parameters["within"] = arguments.within.total_seconds()
    if arguments.any:
        parameters["any"] = True
    if arguments.due:
        parameters["due"] = "now"
    for name in ("day", "timezone"):
        if getattr(arguments, name) is not None:
            parameters[name] = getattr(arguments, name)
    return parameters


def _token(arguments: argparse.Namespace) -> str:
    if arguments.token_file is not None:
        try:
            return str(arguments.token_file.read_text().strip())
        except OSError as error:
            raise UsageError(f"the token cannot be read: {error}") from None
    if token := os.environ.get("BATCHY_TOKEN"):
        return token
    raise UsageError("--api needs an API token of Airflow: name its file with --token-file, or set BATCHY_TOKEN")


def _why_unavailable(answer: httpx.Response) -> str | None:
    """Return why the server cannot answer now; None if it has answered.

    :raises UsageError: the server refuses the request, so that repeating it is of no use.
    """
    if answer.is_success:
        return None
    text = _error_text(answer)
    if answer.status_code in (429, 500, 502, 503, 504):
        return text
    raise UsageError(text)


def _error_text(answer: httpx.Response) -> str:
    try:
        detail = str(answer.json()["detail"])
    except (ValueError, KeyError, TypeError):
        detail = answer.text[:200]
    hint = ". Is the token from this Airflow, and has it not expired?" if answer.status_code == 401 else ""
    return f"{answer.url.host} answered {answer.status_code}: {detail}{hint}"
