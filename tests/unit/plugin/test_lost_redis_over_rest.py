# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""What the API answers when Redis came back with nothing."""

from __future__ import annotations

from pathlib import Path

from api_server import Api
from redis import Redis


def test_opening_is_refused_and_says_what_to_do(api: Api, redis_client: Redis) -> None:
    client = api.client()
    batch = client.post("/api/v1/workflows/sales/batches").json()["batch"]
    client.post(f"/api/v1/workflows/sales/batches/{batch['batch_id']}/close")
    redis_client.flushall()

    refused = client.post("/api/v1/workflows/sales/batches")
    assert refused.status_code == 409
    assert refused.json()["type"].endswith("LostStateError")
    assert "`batchy restore sales`" in refused.json()["detail"]
    closed = client.post(f"/api/v1/workflows/sales/batches/{batch['batch_id']}/close")
    assert closed.status_code == 404
    assert "`batchy restore sales`" in closed.json()["detail"]
    shown = client.get("/api/v1/workflows/sales").json()
    assert (shown["summary"]["status"], shown["summary"]["in_redis"]) == ("new", False)
    assert redis_client.keys() == []


def test_a_result_store_that_is_away_is_a_503_for_what_redis_does_not_know(api: Api, tmp_path: Path) -> None:
    (tmp_path / "results").write_text("a file where a folder ought to be")
    refused = api.client().post("/api/v1/workflows/sales/batches")
    assert refused.status_code == 503
    assert "cannot be asked whether it ought to" in refused.json()["detail"]
