# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Report events to the metrics, traces and lineage that this Airflow has configured."""
