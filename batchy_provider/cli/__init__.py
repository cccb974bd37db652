# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The ``batchy`` command line: one module for each group of commands. It calls the services and prints the answer."""
