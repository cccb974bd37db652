# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""A model of the rules of batches, as simple as possible. The state machine compares the store with it.

It follows docs/state.md and docs/concepts.md, and uses no code of the package. If model and store differ, one is wrong.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime

from model_values import BEGINNING as BEGINNING
from model_values import Batch as Batch
from model_values import Job as Job
from model_values import Loaded as Loaded
from model_values import Setting as Setting
from model_values import Span as Span
from model_values import before as before
from model_values import joined as joined


@dataclass
class Model:
    """One workflow."""

    config: dict[str, Setting]
    zone: str = "UTC"
    off_in_file: set[str] = field(default_factory=set)
    stored_zone: str = "UTC"
    stored_off: set[str] = field(default_factory=set)
    off: set[str] = field(default_factory=set)
    jobs: dict[str, Job] = field(default_factory=dict)
    live: Batch | None = None
    batches: dict[int, Batch] = field(default_factory=dict)
    runs: dict[str, int] = field(default_factory=dict)
    loaded: dict[str, Loaded] = field(default_factory=dict)
    ledger: dict[str, list[Span]] = field(default_factory=dict)
    """What each job has loaded, by whichever batch, less what a person has asked to load again."""
    unseen: dict[str, Span] = field(default_factory=dict)
    """What the original closed as success since our last look; lost if the whole batch is then closed as failed."""
    overtaken: Batch | None = None
    """Our batch that the original has opened over; nobody has looked at it since."""
    loaded_there: dict[str, Span] = field(default_factory=dict)
    """What the original closed as success in that batch."""
    holds: bool = False
    """A person has put it on hold, and has not released it since; it may have ended by itself."""
    hold_ends: datetime | None = None
    """When the hold ends by itself."""
    highest: int = 0
    live_ids: list[int] = field(default_factory=list)
    alike: bool = True
    """All jobs went the same way all the time: then there is one watermark, and re-runs are foreseen exactly."""

    @property
    def is_open(self) -> bool:
        return self.live is not None and self.live.status == "open"

    def is_held(self, now: datetime) -> bool:
        """Tell whether no batch may open."""
        return self.holds and (self.hold_ends is None or self.hold_ends > now)

    def merged(self, known: bool) -> dict[str, Job]:
        """The jobs as an opening sees them: state from Redis, settings from the configuration if it comes along."""
        if not known:
            return dict(self.jobs)
        return {name: self._merged(name, setting) for name, setting in self.config.items()}

    def _merged(self, name: str, setting: Setting) -> Job:
        loaded = self.ledger.get(name, [])
        job = self.jobs.get(name)
        if job is None:
            since = setting.initial_date or BEGINNING
            last = [span for span in loaded if span[0] <= since < span[1]]
            return Job(setting, "success", *last[0]) if last else Job(setting)
        if not loaded and job.status != "success" and job.start == Job(job.setting).next_start(self.stored_zone):
            return Job(setting, job.status)
        return replace(job, setting=setting)

    def next_spans(self, jobs: dict[str, Job], zone: str, now: datetime) -> dict[str, Span]:
        spans = {}
        for name, job in jobs.items():
            start = job.next_start(zone)
            watermark = self.loaded[name].watermark if name in self.loaded else now
            spans[name] = (start, max(now, job.position, start, watermark))
        return spans

    def rerun_must_be_history(self, own: Batch, jobs: dict[str, Job]) -> bool:
        """The second table: the watermark does not move back, and nothing before the window is passed over."""
        if own.kind == "history":
            return True
        spans = {name: span for name, span in own.spans.items() if name in jobs}
        if not spans:
            return True
        for name, (start, end) in spans.items():
            if name not in self.jobs and not self.ledger.get(name):
                continue
            if name not in self.jobs and jobs[name].position > end:
                return True
            if name in self.loaded and self.loaded[name].watermark > end and not self._moved_since(own):
                return True
            if jobs[name].position < start:
                return True
        return False

    def _moved_since(self, own: Batch) -> bool:
        """Tell whether the batch was to take the watermark back on purpose, and has not done so yet."""
        return own.moved and own.status != "success"

    # -- what becomes of the state --------------------------------------------------------------------------------

    def overtaken_ended(self) -> None:
        """With the next change of ours, a batch that the original has opened over is not open any more."""
        for batch in self.batches.values():
            if batch is not self.live and batch.kind != "history" and batch.status == "open":
                batch.status = "failed"

    def opened(self, batch: Batch, jobs: dict[str, Job]) -> None:
        """A live batch was opened."""
        self.see()
        self.overtaken_ended()
        if self.is_open:
            assert self.live is not None
            self.live.status = "failed"
        for name in list(self.loaded):
            if name not in jobs:
                del self.loaded[name]
        for name, job in jobs.items():
            if job.start is None and not self.ledger.get(name):
                self.loaded.pop(name, None)  # it has loaded nothing, and begins where its configuration says now
            if name not in batch.spans:
                job.status = "failed" if job.status == "open" else job.status
                continue
            start, end = batch.spans[name]
            loaded = self.loaded.setdefault(name, Loaded(since=start))
            loaded.since = min(loaded.since, start)
            if batch.moved:
                loaded.watermark = min(loaded.watermark, end)
                if start > job.position:
                    loaded.spans.append((job.position, start))
            job.status, job.start, job.end = "open", start, end
        self.jobs = jobs
        self.live = batch
        self.noted(batch)

    def noted(self, batch: Batch) -> None:
        """A batch was opened, live or not."""
        if batch.kind == "live":
            assert batch.batch_id > max(self.live_ids, default=0), "ids of live batches increase"
            self.live_ids.append(batch.batch_id)
        self.highest = max(self.highest, batch.batch_id)
        assert batch.batch_id not in self.batches, "no two batches have the same id"
        self.batches[batch.batch_id] = batch
        if batch.run is not None:
            self.runs[batch.run] = batch.batch_id

    def closed(self, batch: Batch, result: str) -> None:
        """A batch was closed."""
        batch.status = result
        if batch is self.live:
            self.overtaken_ended()
            self.see_overtaken()
            if result == "success":
                self.see()
            self.unseen.clear()
        if result == "success":
            for name, (start, end) in batch.spans.items():
                if batch is self.live and batch.moved:
                    self.ledger[name] = before(self.ledger.get(name, ()), end)
                self.has_loaded(name, (start, end))
        if batch is not self.live:
            return
        for name, (start, end) in batch.spans.items():
            self.jobs[name].status = result
            if result != "success":
                continue
            loaded = self.loaded[name]
            assert end >= loaded.watermark or batch.moved, "the watermark never moves back"
            loaded.spans.append((start, end))
            loaded.watermark = end

    def see(self) -> None:
        """A change of ours takes note of what the original closed."""
        self.see_overtaken()
        for name, (start, end) in self.unseen.items():
            if self.live is not None and self.live.moved and self.live.status == "success":
                self.ledger[name] = before(self.ledger.get(name, ()), end)
            self.has_loaded(name, (start, end))
        self.unseen.clear()

    def see_overtaken(self) -> None:
        """A change of ours takes note of what the original closed before it opened over our batch."""
        own, loaded = self.overtaken, dict(self.loaded_there)
        self.overtaken = None
        self.loaded_there.clear()
        for name, (start, end) in loaded.items():
            if own is not None and own.moved and own.spans.keys() == loaded.keys():
                self.ledger[name] = before(self.ledger.get(name, ()), end)
            self.has_loaded(name, (start, end))

    def has_loaded(self, name: str, span: Span) -> None:
        """A job has succeeded."""
        self.ledger[name] = joined([*self.ledger.get(name, ()), span])

    def skipped(self, batch: Batch, name: str) -> None:
        """A job was taken out of its batch."""
        del batch.spans[name]
        if batch is not self.live:
            return
        self.jobs[name].status = "new"
        left = {self.jobs[other].status for other in batch.spans}
        if left and "open" not in left:
            # The original has closed all others one by one.
            batch.status = "success" if left == {"success"} else "failed"

    def window_set(self, names: list[str], start: datetime) -> None:
        self.see()
        self.overtaken_ended()
        for name in names or list(self.jobs):
            job = self.jobs[name]
            self.ledger[name] = before(self.ledger.get(name, ()), start)
            loaded = self.loaded.setdefault(name, Loaded(since=start))
            loaded.since = min(loaded.since, start)
            if start > job.position:
                loaded.spans.append((job.position, start))
            loaded.watermark = start
            job.status, job.start = "new", start

    def reset(self) -> None:
        """A configuration was loaded."""
        self.overtaken_ended()
        if self.is_open:
            assert self.live is not None
            self.live.status = "failed"
        self.jobs = {name: Job(setting) for name, setting in self.config.items()}
        self.loaded.clear()
        self.ledger.clear()
        self.unseen.clear()
        self.loaded_there.clear()
        self.overtaken = self.live = None
        self.stored_zone, self.stored_off = self.zone, set(self.off_in_file)
