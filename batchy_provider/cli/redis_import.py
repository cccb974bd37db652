# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Import redis-py without the SDK of OpenTelemetry."""

from __future__ import annotations

import sys

_SDK = "opentelemetry.sdk.metrics"


def import_redis() -> None:
    """Import redis-py in a process of the command line.

    redis-py imports the SDK for metrics of its own, which a program has to switch on. No command does, and the SDK
    takes a quarter of the time. So redis-py finds no SDK here, as on a machine without it. Later imports of the SDK
    succeed.
    """
    if "redis" in sys.modules or _SDK in sys.modules:
        return
    sys.modules[_SDK] = None  # type: ignore[assignment]  # the documented way to say that there is no such module
    try:
        import redis  # noqa: F401 - for those that import it next
    finally:
        del sys.modules[_SDK]
