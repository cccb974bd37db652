# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Run nightly script batches on Apache Airflow: windows of data, waits between workflows, results for later jobs."""

from __future__ import annotations

__version__ = "0.1.0"
