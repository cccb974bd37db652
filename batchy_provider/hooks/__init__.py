# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The Airflow hook of a Batchy connection, and what this package reads from Airflow's configuration."""
