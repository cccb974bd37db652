# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Fetch, check, unpack and run a folder with a `script.sh`, and store its result. Imports nothing of Airflow."""
