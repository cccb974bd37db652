# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Buttons of a task in Airflow's UI that lead to Batchy's page."""
