# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Questions and changes that the command line, the REST API and the page share. Does not import Airflow."""
