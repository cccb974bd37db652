# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Workflow files: YAML → checked, typed models, with every diagnostic told at its line. Knows nothing of Airflow.

Start at `reader`: ``read_folder(folder)`` gives all workflows and diagnostics, ``read_workflow(folder, name)`` one of
them. `model` says which keys there are, `checks` and `order` what cannot be seen in one key alone, `document`
parses safely, `workflow` is what comes out, with ``config()`` for the state layer.
"""
