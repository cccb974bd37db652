# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The routes of the REST API and the page: one file for each noun."""
