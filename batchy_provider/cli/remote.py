# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""``batchy wait`` with nothing but the address of Airflow's API server and a token."""

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
_LOST_PAUSE_SECONDS = 5.0


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say where the server is."""
    there = parser.add_argument_group("over REST, instead of Redis")
    there.add_argument("--api", metavar="URL", help="Airflow's address, http://airflow:8080 (or BATCHY_API)")
    there.add_argument("--token-file", metavar="FILE", type=Path, help="holds a token of Airflow's (or BATCHY_TOKEN)")


def address(arguments: argparse.Namespace) -> str | None:
    """Return the server's address, if the wait goes over REST."""
    if any(getattr(arguments, name, None) for name in ("redis_url", "connection")):
        return None
    return arguments.api or os.environ.get("BATCHY_API") or None


def wait(context: Context, arguments: argparse.Namespace, url: str) -> int:
    """Wait for a workflow: ask, again and again, for an answer that comes when it is over."""
    import httpx

    deadline = time.monotonic() + (arguments.timeout.total_seconds() if arguments.timeout else float("inf"))
    question = _question(arguments)
    told = None
    path = f"{url.rstrip('/')}/batchy/api/v1/workflows/{quote(arguments.workflow, safe='')}/wait"
    with httpx.Client(timeout=_POLL_SECONDS + 30, headers={"Authorization": f"Bearer {_token(arguments)}"}) as client:
        while True:
            left = deadline - time.monotonic()
            question["timeout"] = max(0.0, min(_POLL_SECONDS, left))
            try:
                answer = client.get(path, params=question)
                lost = _refusal(answer)
            except httpx.TransportError as error:
                lost = f"{url} cannot be reached: {error}"
            if lost is None:
                standing = answer.json()
                # The day is that on which the wait began: one that crosses midnight still ends.
                question |= {name: standing[name] for name in ("day", "timezone") if standing[name]}
                if standing["state"] != "waiting":
                    return _end(context, standing)
                text = standing["text"]
            else:
                text = f"{lost}; the wait goes on"
            if deadline - time.monotonic() <= 0:
                context.output.note(f"batchy: gave up waiting for {arguments.workflow} after {arguments.timeout}")
                return EXIT_TIMEOUT
            if text != told:
                context.output.note(f"batchy: {text}")
                told = text
            if lost is not None:
                time.sleep(max(0.0, min(_LOST_PAUSE_SECONDS, deadline - time.monotonic())))


def _question(arguments: argparse.Namespace) -> dict[str, Any]:
    question: dict[str, Any] = {"on_failed": arguments.on_failed, "job": arguments.job}
    if arguments.within is not None:
        question["within"] = arguments.within.total_seconds()
    if arguments.any:
        question["any"] = True
    for name in ("day", "timezone"):
        if getattr(arguments, name) is not None:
            question[name] = getattr(arguments, name)
    return question


def _token(arguments: argparse.Namespace) -> str:
    if arguments.token_file is not None:
        try:
            return str(arguments.token_file.read_text().strip())
        except OSError as error:
            raise UsageError(f"the token cannot be read: {error}") from None
    if token := os.environ.get("BATCHY_TOKEN"):
        return token
    raise UsageError("--api needs a token of Airflow's: name its file with --token-file, or set BATCHY_TOKEN")


def _refusal(answer: httpx.Response) -> str | None:
    """
    Return what keeps the server from answering now; None if it has answered.

    :raises UsageError: it will never answer to this.
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
    hint = ". Is the token one of this Airflow, and not too old?" if answer.status_code == 401 else ""
    raise UsageError(text + hint)


def _end(context: Context, standing: dict[str, Any]) -> int:
    if context.output.is_table:
        context.output.line(standing["text"])
    else:
        context.output.data({name: standing[name] for name in ("state", "batch_id", "text")})
    return EXIT_OK if standing["state"] == "done" else EXIT_ERROR
