# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Check a document before it is imported: every value, with the place of each error.

The check reads each value with the function that reads it from Redis later, so what an import accepts can be used.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

from batchy_provider.core.dates import parse_date
from batchy_provider.core.job_state import JobState
from batchy_provider.core.names import check_workflow_name
from batchy_provider.core.snapshot import Snapshot, StoredBatch
from batchy_provider.core.typed_data import FormError, encodable, fits, shown
from batchy_provider.core.values import JobDuration
from batchy_provider.exceptions import ImportDocumentError, InvalidNameError, StateError, WindowError
from batchy_provider.state import codec
from batchy_provider.state.duration_lists import read_durations
from batchy_provider.state.export_form import FORMAT, META, VERSION, ImportedBatch, ImportedWorkflow
from batchy_provider.state.stored_values import job_errors

MAX_ERRORS = 50
"""How many errors of a document are listed."""
_MAX_ID = 2**53
_KEYS = {"workflow", "jobs", "ledger", "durations", *META, "runs", "batches"}
_REQUIRED = ("workflow", "jobs", "ledger")


def read_document(data: Any) -> list[ImportedWorkflow]:
    """Check a whole document, and return its workflows.

    :param data: decoded JSON.
    :raises ImportDocumentError: with the place of each error.
    """
    if not isinstance(data, dict) or data.get("format") != FORMAT or type(data.get("version")) is not int:
        raise ImportDocumentError(
            f'this is not an export: expected a JSON object with "format": "{FORMAT}" and a "version", as '
            "`batchy export` writes it. Nothing was changed"
        )
    if data["version"] != VERSION:
        raise ImportDocumentError(
            f"this export has version {data['version']}, and this package reads version {VERSION}. Nothing was "
            "changed. Upgrade batchy_provider here, or export again with the release that is installed here"
        )
    listed = data.get("workflows")
    if not isinstance(listed, list):
        raise ImportDocumentError(f"workflows is {shown(listed)}; expected a list. Nothing was changed")
    check = _Check()
    found = [check.workflow(f"workflows[{index}]", each) for index, each in enumerate(listed)]
    if check.errors:
        more = len(check.errors) - MAX_ERRORS
        lines = [*check.errors[:MAX_ERRORS], *([f"and {more} more"] if more > 0 else [])]
        raise ImportDocumentError("\n".join(["the document has errors; nothing was changed:", *lines]))
    return [each for each in found if each is not None]


class _Check:
    """Collect the errors of a document, each with its place."""

    def __init__(self) -> None:
        self.errors: list[str] = []
        self._names: set[str] = set()

    def workflow(self, place: str, data: Any) -> ImportedWorkflow | None:
        """Return a workflow; None if it has errors."""
        before = len(self.errors)
        if not self._is_object(place, data):
            return None
        name = self._name(place, data.get("workflow"))
        if name is None:
            return None
        place = f"{place} ({name})"
        for key in data.keys() - _KEYS:
            self._add(f"{place}: the key {shown(key)} is unknown; expected {', '.join(sorted(_KEYS))}")
        for key in _REQUIRED:
            if key not in data:
                self._add(f"{place}: the key {key!r} is missing")
        jobs = self._jobs(f"{place}.jobs", data.get("jobs"))
        meta = {field: data[field] for field in META if data.get(field) is not None}
        read = {field: self._value(f"{place}.{field}", META[field], value) for field, value in meta.items()}
        ledger = self._ledger(f"{place}.ledger", data.get("ledger", {}))
        durations = self._durations(f"{place}.durations", data.get("durations") or {})
        runs = self._runs(f"{place}.runs", data.get("runs") or {})
        batches = self._batches(f"{place}.batches", data.get("batches") or [])
        if len(self.errors) > before:
            return None
        state = Snapshot(
            workflow=name,
            jobs=jobs,
            **{each: read[each] for each in (codec.CONFIG, codec.OWNER, codec.LAST_SUCCESS) if each in read},
        )
        return ImportedWorkflow(state=state, meta=meta, ledger=ledger, durations=durations, runs=runs, batches=batches)

    def _add(self, error: str) -> None:
        self.errors.append(error)

    def _is_object(self, place: str, data: Any) -> bool:
        if isinstance(data, dict):
            return True
        self._add(f"{place} is {shown(data)}; expected a JSON object")
        return False

    def _name(self, place: str, name: Any) -> str | None:
        try:
            name = check_workflow_name(name)
        except InvalidNameError as error:
            self._add(f"{place}.workflow: {error}")
            return None
        if name in self._names:
            self._add(f"{place}.workflow: {name!r} is in the document twice; expected it once")
        self._names.add(name)
        return str(name)

    def _jobs(self, place: str, data: Any) -> dict[str, JobState]:
        if not self._is_object(place, data):
            return {}
        if not data:
            self._add(f"{place} is empty; expected at least one job")
        found = {}
        for name, fields in data.items():
            at = f"{place}.{encodable(name)}"
            self._check_text(at, name)
            if not self._is_object(at, fields):
                continue
            job = found[name] = JobState(fields)
            errors = list(job_errors(job))
            if job.status is None and isinstance(job.stored_status, str):
                errors.append(("status", "new, open, success, failed or failure"))
            for each, expected in errors:
                self._add(f"{at}.{each} is {shown(fields[each])}; expected {expected}")
        return found

    def _ledger(self, place: str, data: Any) -> dict[str, Any]:
        if not self._is_object(place, data):
            return {}
        for job, pairs in data.items():
            self._check_text(f"{place}.{encodable(job)}", job)
            self._value(f"{place}.{encodable(job)}", _load_intervals, pairs, "a list of [from, to] in order")
        return dict(data)

    def _durations(self, place: str, data: Any) -> dict[str, list[JobDuration]]:
        if not self._is_object(place, data):
            return {}
        found: dict[str, list[JobDuration]] = {}
        for job, entries in data.items():
            self._check_text(f"{place}.{encodable(job)}", job)
            if isinstance(entries, list) and all(map(_is_duration, entries)):
                found[job] = read_durations(entries)
            else:
                expected = "a list of [start, seconds, window length in seconds]"
                self._add(f"{place}.{encodable(job)} is {shown(entries)}; expected {expected}")
        return found

    def _runs(self, place: str, data: Any) -> dict[str, int]:
        if not self._is_object(place, data):
            return {}
        for run, batch_id in data.items():
            self._check_text(f"{place}.{encodable(run)}", run)
            if not _is_id(batch_id):
                self._add(f"{place}.{encodable(run)} is {shown(batch_id)}; expected the id of a batch")
        return dict(data)

    def _batches(self, place: str, data: Any) -> tuple[ImportedBatch, ...]:
        if not isinstance(data, list):
            self._add(f"{place} is {shown(data)}; expected a list")
            return ()
        return tuple(self._each_batch(place, data))

    def _each_batch(self, place: str, data: list[Any]) -> Iterator[ImportedBatch]:
        seen: set[int] = set()
        for index, each in enumerate(data):
            at = f"{place}[{index}]"
            if not self._is_object(at, each):
                continue
            batch_id, record = each.get("batch_id"), each.get("record")
            closed, listed = each.get("closed"), each.get("listed")
            if not _is_id(batch_id) or batch_id in seen:
                self._add(f"{at}.batch_id is {shown(batch_id)}; expected the id of a batch, each once")
                continue
            seen.add(batch_id)
            if closed is not None and not fits(float, closed):
                self._add(f"{at}.closed is {shown(closed)}; expected when the batch was closed, in Unix seconds")
            if listed is not None and not fits(float, listed):
                self._add(f"{at}.listed is {shown(listed)}; expected the place of the batch in the history, a number")
            jobs = self._jobs(f"{at}.jobs", each.get("jobs"))
            known = None
            if record is not None:
                known = self._value(f"{at}.record", lambda key, text: codec.load_record(key, 0, text), record)
            yield ImportedBatch(stored=StoredBatch(batch_id, jobs, known), record=record, closed=closed, listed=listed)

    def _check_text(self, place: str, text: str) -> None:
        if encodable(text) != text:
            self._add(f"{place}: this name is not valid text; expected Unicode without lone surrogates")

    def _value(
        self, place: str, load: Callable[[str, str | None], Any], value: Any, expected: str = "it as exported"
    ) -> Any:
        """Read a value as it is read from Redis later; an error is added with the place in the document."""
        try:
            return load(place, codec.dump(value))
        except StateError as error:
            cause = error.__cause__
            what = str(cause) if isinstance(cause, FormError) else f"is {shown(value)}"
            self._add(f"{place} {what}" if "; expected" in what else f"{place} {what}; expected {expected}")
        return None


def _load_intervals(key: str, text: str | None) -> Any:
    return codec.load_ledger(key, {"": text or ""})


def _is_duration(entry: Any) -> bool:
    try:
        start, seconds, window_seconds = entry
        parse_date(start)
    except (TypeError, ValueError, WindowError):
        return False
    return all(fits(float, each) and math.isfinite(each) for each in (seconds, window_seconds))


def _is_id(value: Any) -> bool:
    return type(value) is int and 0 <= value <= _MAX_ID
