# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Fetch, check, unpack, run and keep: all about a folder with a `script.sh`. Knows nothing of Airflow."""
