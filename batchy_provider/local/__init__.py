# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Run a whole Airflow with its Valkey and PostgreSQL on one machine, in one folder: for the demo and the tests."""
