# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""What people and programs can ask for and change, said once for the command line, REST and the page; no Airflow."""
