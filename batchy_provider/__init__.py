# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Nightly script batches for Apache Airflow: windows of data kept in Redis, waits, hand-over between jobs."""

from __future__ import annotations

__version__ = "0.1.0"
