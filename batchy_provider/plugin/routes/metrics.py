# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Route of metrics: the state of all workflows, for Prometheus to scrape."""

from __future__ import annotations

from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse
from redis.exceptions import RedisError

from batchy_provider.exceptions import RedisUnavailableError
from batchy_provider.plugin.airflow_services import ServicesDep, reset_services
from batchy_provider.plugin.security import AnyCaller
from batchy_provider.services.prometheus import CONTENT_TYPE

router = APIRouter(tags=["metrics"])


@router.get(
    "/metrics", operation_id="get_metrics", summary="State as metrics", response_class=PlainTextResponse, responses={}
)
def get_metrics(caller: AnyCaller, services: ServicesDep) -> Response:
    """Return the workflows that the caller may read as metrics, in Prometheus' text format.

    If Redis cannot be reached, the only metric is `batchy_redis_up 0`.
    """
    try:
        readable = caller.readable(services.workflows.all_names())
    except (RedisUnavailableError, RedisError):  # the text below says so
        readable = set()
    text, error = services.metrics.exposition(only=readable)
    if error is not None:
        reset_services()  # somebody may have edited the connection
    return Response(text, media_type=CONTENT_TYPE)
