# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Rules of batches, windows and waits as pure functions on typed values: no Redis, no Airflow, no clock."""
