# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Read workflow files: YAML → checked, typed models, with a line for each error. Does not import Airflow.

Start at `reader`: ``read_folder(folder)`` returns all workflows and diagnostics, ``read_workflow(folder, name)``
returns one workflow. `model` defines the keys. `key_checks` checks several keys together, `job_order` the order of the
jobs, `cross_file_checks` several files. `document` parses YAML and JSON.
"""
