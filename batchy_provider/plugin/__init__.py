# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The REST API and the page, in Airflow's API server."""
