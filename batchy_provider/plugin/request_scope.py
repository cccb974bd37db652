# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Keys that this plugin adds to the scope of requests."""

from __future__ import annotations

AIRFLOW_APP = "batchy.airflow_app"
"""Airflow's own application, of which this plugin's is a part."""
