# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""``batchy wait --api``: wait over the REST API, with an address and a token."""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from batchy_provider.cli.context import EXIT_ERROR, EXIT_OK, EXIT_TIMEOUT, Context, UsageError

if TYPE_CHECKING:
    import httpx

_POLL_SECONDS = 30.0


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say where the server is."""
    there = parser.add_argument_group("over the REST API, instead of Redis")
    there.add_argument("--api", metavar="URL", help="Airflow's address, http://airflow:8080 (or BATCHY_API)")
    there.add_argument(
        "--token-file", metavar="FILE", type=Path, help="file with an API token of Airflow (or BATCHY_TOKEN)"
    )


def address(arguments: argparse.Namespace) -> str | None:
    """Return the server's address; None if the wait uses Redis."""
    if any(getattr(arguments, name, None) for name in ("redis_url", "connection")):
        return None
    return arguments.api or os.environ.get("BATCHY_API") or None


def wait(context: Context, arguments: argparse.Namespace, url: str) -> int:
    """Wait for a workflow: repeat a request that the server answers when the wait is over."""
    import httpx

    from batchy_provider.core.waits import Verdict
    from batchy_provider.services.waiter import Waiter

    timeout = arguments.timeout.total_seconds() if arguments.timeout else None
    waiter = Waiter([arguments.workflow], began=time.monotonic(), timeout=timeout, recheck=_POLL_SECONDS)
    parameters = _parameters(arguments)
    path = f"{url.rstrip('/')}/batchy/api/v1/workflows/{quote(arguments.workflow, safe='')}/wait"
    with httpx.Client(timeout=_POLL_SECONDS + 30, headers={"Authorization": f"Bearer {_token(arguments)}"}) as client:
        poll = min(waiter.pause(time.monotonic()), _POLL_SECONDS)
        while True:
            # The server answers as soon as the wait is over, at the latest after this time.
            parameters["timeout"] = poll
            try:
                answer = client.get(path, params=parameters)
                lost = _why_unavailable(answer)
            except httpx.TransportError as error:
                lost = f"{url} cannot be reached: {error}"
            if lost is None:
                answered = answer.json()
                # Keep the day on which the wait began, so that a wait across midnight can end.
                parameters |= {name: answered[name] for name in ("day", "timezone") if answered[name]}
                text = answered["text"]
                verdict = Verdict(state=answered["state"], text=text, batch_id=answered["batch_id"])
                is_new = waiter.take(arguments.workflow, verdict)
                if waiter.is_over:
                    return _end(context, answered)
            else:
                text = f"{lost}; the wait continues"
                is_new = waiter.lose(text)
            poll = waiter.pause(time.monotonic())
            if not poll:
                context.output.note(f"batchy: gave up waiting for {arguments.workflow} after {arguments.timeout}")
                return EXIT_TIMEOUT
            if is_new:
                context.output.note(f"batchy: {text}")
            if lost is not None:
                time.sleep(poll)
                poll = waiter.pause(time.monotonic())


def _parameters(arguments: argparse.Namespace) -> dict[str, Any]:
    parameters: dict[str, Any] = {"on_failed": arguments.on_failed, "job": arguments.job}
    if arguments.within is not None:
        parameters["within"] = arguments.within.total_seconds()
    if arguments.any:
        parameters["any"] = True
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
    try:
        detail = str(answer.json()["detail"])
    except (ValueError, KeyError, TypeError):
        detail = answer.text[:200]
    text = f"{answer.url.host} answered {answer.status_code}: {detail}"
    if answer.status_code in (429, 500, 502, 503, 504):
        return text
    hint = ". Is the token from this Airflow, and has it not expired?" if answer.status_code == 401 else ""
    raise UsageError(text + hint)


def _end(context: Context, answered: dict[str, Any]) -> int:
    if context.output.is_table:
        context.output.line(answered["text"])
    else:
        context.output.data({name: answered.get(name) for name in ("state", "batch_id", "code", "text")})
    return EXIT_OK if answered["state"] == "done" else EXIT_ERROR
