# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""A batch beside the last good one: which one that is, what differs, and what differs first."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import redis

from batchy_provider.bundles.execution_id import ExecutionId
from batchy_provider.bundles.result_store import ResultStore
from batchy_provider.core.batch_differences import Difference, JobFacts, compare_jobs, first_difference
from batchy_provider.core.values import CloseRequest, OpenRequest, Window, WorkflowConfig
from batchy_provider.core.vocabulary import Outcome
from batchy_provider.exceptions import UnknownBatchError
from batchy_provider.services.batch_comparison import ComparisonView
from batchy_provider.services.composition import Services
from batchy_provider.state.store import Store

GOOD = JobFacts(outcome="success", seconds=100.0, output_bytes=5000, bundle="aaa", params={"region": "eu"})


class Site:
    def __init__(self, client: redis.Redis, folder: Path) -> None:
        self.store = Store(client)
        self.results = ResultStore(str(folder))
        self.services = Services(store=lambda: self.store, results=lambda: self.results)

    def batch(
        self,
        *,
        failed: tuple[str, ...] = (),
        params: Mapping[str, Any] | None = None,
        window: Window | None = None,
        bundle: str = "aaa",
    ) -> int:
        config = WorkflowConfig(name="sales", jobs={"extract": dict(params or {}), "load": {}})
        opened = self.store.open("sales", OpenRequest(config=config, window=window))
        outcomes: dict[str, Outcome] = {job: "failed" if job in failed else "success" for job in config.jobs}
        result = CloseRequest(result="failed" if failed else "success", batch_id=opened.batch_id, outcomes=outcomes)
        self.store.close("sales", result)
        for at, job in enumerate(config.jobs):
            identity = ExecutionId(workflow="sales", batch_id=str(opened.batch_id), job=job, attempt="1")
            with self.results.draft(identity, Path()) as draft:
                (draft.folder / "stdout").write_text("x" * 2000)
                draft.commit(
                    {
                        "state": outcomes[job],
                        "exit_code": int(job in failed),
                        "started": f"2026-11-29T02:0{at}:00+00:00",
                        "finished": f"2026-11-29T02:0{at + 1}:00+00:00",
                        "bundle": {"name": job, "sha256": bundle if job == "load" else "bbb"},
                    }
                )
        return opened.batch_id

    def compare(self, batch_id: int, other: int | None = None) -> ComparisonView:
        return self.services.comparison.compare("sales", batch_id, other)


@pytest.fixture
def site(redis_client: redis.Redis, tmp_path: Path) -> Site:
    return Site(redis_client, tmp_path / "results")


def test_the_last_good_one_is_the_last_success_before(site: Site) -> None:
    first, good = site.batch(), site.batch()
    bad = site.batch(failed=("load",))
    worse = site.batch(failed=("load",))
    later = site.batch()
    found = site.compare(worse)
    assert found.other is not None
    assert found.other.batch_id == good
    assert (found.previous, found.next) == (bad, later)
    assert (site.compare(later).next, site.compare(first).previous) == (None, None)
    assert site.compare(first).other is None
    assert "no earlier batch" in site.compare(first).text
    chosen = site.compare(worse, first).other
    assert chosen is not None
    assert chosen.batch_id == first


def test_a_backfill_is_not_the_last_good_one_of_a_live_batch(site: Site) -> None:
    good = site.batch()
    past = site.batch(window=Window(from_date="2026-01-01", to_date="2026-01-02"))
    bad = site.batch(failed=("load",))
    found = site.compare(bad).other
    assert found is not None
    assert found.batch_id == good
    history = site.compare(past).other
    assert history is not None
    assert history.batch_id == good


def test_what_differs_first_is_named(site: Site) -> None:
    site.batch(params={"region": "eu"})
    same = site.compare(site.batch(params={"region": "eu"}))
    assert same.first_job is None
    assert same.text.startswith("no difference to batch")
    assert [each.seconds for job in same.jobs for each in (job.batch, job.other) if each] == [60.0] * 4
    changed = site.compare(site.batch(failed=("load",), params={"region": "us"}, bundle="ccc"))
    assert changed.first_job == "extract"
    assert changed.text == "extract differs first: other params: region"
    load = changed.jobs[1]
    assert [str(each) for each in load.differences] == ["bundle", "outcome"]


def test_without_results_the_state_alone_is_compared(site: Site) -> None:
    services = Services(store=lambda: site.store)  # no result store
    site.batch()
    found = services.comparison.compare("sales", site.batch(failed=("extract",)))
    assert found.text == "extract differs first: failed instead of success"


def test_secrets_are_not_shown(site: Site) -> None:
    site.batch(params={"password": "old", "region": "eu"})
    found = site.compare(site.batch(params={"password": "new", "region": "us"}))
    assert "new" not in str(found)
    assert "old" not in str(found)
    assert found.jobs[0].params == ["region"]


def test_an_unknown_batch_is_an_error(site: Site) -> None:
    known = site.batch()
    with pytest.raises(UnknownBatchError):
        site.compare(1)
    with pytest.raises(UnknownBatchError):
        site.compare(known, 1)


@pytest.mark.parametrize(
    ("facts", "differences"),
    [
        (GOOD, []),
        (
            JobFacts(outcome="failed", seconds=100.0, output_bytes=5000, bundle="aaa", params={"region": "eu"}),
            ["outcome"],
        ),
        (
            JobFacts(outcome="success", seconds=100.0, output_bytes=5000, bundle="bbb", params={"region": "eu"}),
            ["bundle"],
        ),
        (
            JobFacts(outcome="success", seconds=151.0, output_bytes=5000, bundle="aaa", params={"region": "eu"}),
            ["duration"],
        ),
        (JobFacts(outcome="success", seconds=140.0, output_bytes=7000, bundle="aaa", params={"region": "eu"}), []),
        (JobFacts(outcome="success", seconds=100.0, output_bytes=0, bundle="aaa", params={"region": "eu"}), ["output"]),
        (JobFacts(outcome="success", params={"region": None}), ["params"]),
        (JobFacts(outcome="success", params={}), ["params"]),
        (JobFacts(outcome="success", params={"region": "eu"}), []),
        (None, ["only_there"]),
    ],
)
def test_a_job_differs_by_what_matters(facts: JobFacts | None, differences: list[str]) -> None:
    (found,) = compare_jobs({} if facts is None else {"load": facts}, {"load": GOOD})
    assert [str(each) for each in found.differences] == differences


def test_a_job_that_only_took_longer_is_no_cause_while_a_later_one_changed() -> None:
    slow = JobFacts(outcome="success", seconds=900.0)
    fast = JobFacts(outcome="success", seconds=100.0)
    jobs = compare_jobs(
        {"extract": slow, "load": JobFacts(outcome="failed")}, {"extract": fast, "load": JobFacts(outcome="success")}
    )
    first = first_difference(jobs)
    assert first is not None
    assert (first.job, first.differences) == ("load", [Difference.OUTCOME])
    alone = first_difference(compare_jobs({"extract": slow}, {"extract": fast}))
    assert alone is not None
    assert alone.job == "extract"
