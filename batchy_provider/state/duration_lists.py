# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Store how long the latest successful executions of each job took: ``wf:durations``, job → JSON list.

Each entry is ``[start, seconds, length of the window in seconds]``. The newest one is the last.

A closing adds one entry for each job, to lists that are sixty times as long. So a script in Redis adds it, and the
lists do not travel. Each entry has the same number of characters: the script cuts off the oldest one without reading
it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from batchy_provider.core.alike import for_each
from batchy_provider.core.dates import format_date, parse_date
from batchy_provider.core.job_durations import MAX_DURATIONS, completed, latest
from batchy_provider.core.typed_data import FormError, shown
from batchy_provider.core.values import JobDuration
from batchy_provider.exceptions import StateError
from batchy_provider.state.keys import Keys
from batchy_provider.state.protocol import Command, as_hash
from batchy_provider.state.session import Session
from batchy_provider.state.stored_values import read_field

ENTRY_WIDTH = len('["2026-01-02T03:04:05.000000",99999.999,9999999999],')
"""Each entry has so many characters, with the comma after it."""

# A key of another type is another program's. That must not stop a batch from closing, so nothing is written then.
# A list of another form is replaced.
_ADD = f"""
local longest = {(MAX_DURATIONS - 1) * ENTRY_WIDTH}
for i = 1, #ARGV, 2 do
  local old = redis.pcall('HGET', KEYS[1], ARGV[i])
  if type(old) == 'table' then return 0 end
  local new = '[' .. ARGV[i + 1] .. ']'
  if old and #old % {ENTRY_WIDTH} == 1 and string.sub(old, 1, 2) == '[[' and string.sub(old, -2) == ']]' then
    local cut = #old - 1 - longest
    if cut < 0 then cut = 0 end
    new = '[' .. string.sub(old, cut + 2, -2) .. ',' .. string.sub(new, 2)
  end
  redis.call('HSET', KEYS[1], ARGV[i], new)
end
return 1
""".strip()


def duration_commands(keys: Keys, durations: Mapping[str, Sequence[JobDuration]]) -> list[Command]:
    """Return the commands that add executions to the list of each job."""
    if not durations:
        return []
    texts = for_each(durations, lambda _, some: [_entry(each) for each in some])  # most jobs of a batch share one value
    words = [word for job, entries in texts.items() for text in entries for word in (job, text)]
    return [("EVAL", _ADD, 1, keys.durations, *words)] if words else []


def stored_durations(session: Session, keys: Keys) -> dict[str, list[JobDuration]] | None:
    """Return job → its latest executions; None if another program uses the key."""
    try:
        (stored,) = session.ask(("HGETALL", keys.durations))
    except StateError:
        return None
    return load_durations(keys, as_hash(stored))


def fill_commands(session: Session, keys: Keys, durations: Mapping[str, Sequence[JobDuration]]) -> list[Command]:
    """Return the commands that add executions of the past, of batches that the lists lack.

    :param session: watches a key that every closing writes.
    """
    if not durations:
        return []
    (stored,) = session.ask(("HMGET", keys.durations, *durations))
    texts = {job: text for job, text in zip(durations, stored, strict=True) if text is not None}
    known = load_durations(keys, texts)
    wanted = {job: completed(known.get(job, ()), some) for job, some in durations.items()}
    return whole_commands(keys, {job: some for job, some in wanted.items() if some != known.get(job)})


def whole_commands(keys: Keys, durations: Mapping[str, Sequence[JobDuration]]) -> list[Command]:
    """Return the commands that store whole lists."""
    pairs = [word for job, text in dump_durations(durations).items() for word in (job, text)]
    return [("HSET", keys.durations, *pairs)] if pairs else []


def dump_durations(durations: Mapping[str, Sequence[JobDuration]]) -> dict[str, str]:
    """Return job → its list as text, for the jobs that have one."""
    return {job: f"[{','.join(map(_entry, latest(some)))}]" for job, some in durations.items() if some}


def _entry(duration: JobDuration) -> str:
    took, window = _number(duration.seconds, 9, digits=3), _number(duration.window_seconds, 10, digits=0)
    return f'["{format_date(duration.start)}",{took},{window}]'


def _number(value: float, width: int, *, digits: int) -> str:
    """Return a number as JSON with so many characters; less exactly, where it is too long for them."""
    value = min(max(value, 0.0), 1e99)
    if len(exact := f"{value:{width}.{digits}f}") == width:
        return exact
    return next(form for kind in ("0f", "2e") if len(form := f"{value:{width}.{kind}}") == width)


def load_durations(keys: Keys, stored: Mapping[str, str]) -> dict[str, list[JobDuration]]:
    """Read the lists, oldest execution first. One that cannot be read is left out: only forecasts use it."""
    found: dict[str, list[JobDuration]] = {}
    for job, text in stored.items():
        try:
            found[job] = read_field(keys.durations, job, text, read_durations)
        except StateError:
            continue
    return found


def read_durations(entries: Any) -> list[JobDuration]:
    """Read one list, decoded.

    :raises FormError: if it has another form.
    :raises WindowError: if a start is no date.
    """
    try:
        found = [JobDuration(parse_date(start), float(took), float(window)) for start, took, window in entries]
    except (TypeError, ValueError) as error:
        expected = "a list of [start, seconds, window length in seconds]"
        raise FormError(f"is {shown(entries)}; expected {expected}") from error
    if not all(math.isfinite(each.seconds) and math.isfinite(each.window_seconds) for each in found):
        raise FormError("holds a number that is not finite")
    return latest(found)
