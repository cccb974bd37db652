# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Read the events published on ``batchy:events``. Any program may publish there, so each message is checked."""

from __future__ import annotations

import json
import logging
from typing import Any

from batchy_provider.core.names import is_workflow_name
from batchy_provider.core.typed_data import encodable, fits, shown
from batchy_provider.state.keys import EVENTS_CHANNEL
from batchy_provider.state.log_throttle import LogThrottle

Event = dict[str, Any]
"""``workflow``, ``event``, ``batch_id``, ``kind``, ``at``; those that the publisher gave."""

MAX_BYTES = 64 * 1024
_FIELDS = {"workflow": str, "event": str | None, "batch_id": int | None, "kind": str | None, "at": str | None}

_dropped = LogThrottle(logging.getLogger(__name__))


def read_event(data: object) -> Event | None:
    """Return an event with the fields that this package knows.

    :param data: a message of the channel.
    :returns: None if it is not an event of a workflow; a line in the log says why, at most once in five minutes.
    """
    try:
        return _read(data)
    except (ValueError, RecursionError) as error:
        what = str(error) if isinstance(error, _NoEventError) else "is no JSON"
        _dropped.warning("event", "A message on %s was dropped: it %s", EVENTS_CHANNEL, what)
        return None


class _NoEventError(ValueError):
    """Why a message is not an event; the text continues a sentence after "it"."""


def _read(data: object) -> Event:
    if not isinstance(data, (bytes, str)):
        raise _NoEventError(f"is {shown(data)}")
    if len(data) > MAX_BYTES:
        raise _NoEventError(f"has {len(data):,} bytes, more than {MAX_BYTES:,}")
    found = json.loads(data)
    if not isinstance(found, dict):
        raise _NoEventError(f"is {shown(data)}, no JSON object")
    for name, hint in _FIELDS.items():
        if not fits(hint, found.get(name)):
            raise _NoEventError(f"has {name} = {shown(found.get(name))}")
    if not is_workflow_name(found["workflow"]):
        raise _NoEventError(f"names {shown(found['workflow'])}, which is no name of a workflow")
    event: Event = encodable({name: found[name] for name in _FIELDS if name in found})
    return event
