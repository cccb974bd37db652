# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Triggers: wait in Airflow's triggerer for batches and workflows, without a worker slot."""
