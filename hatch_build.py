# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Write the JSON Schema of workflow files when the package is built or installed from a checkout."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class SchemaHook(BuildHookInterface[Any]):
    """Generate the schema from the models, so that no copy of it is committed."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Write the schema into the package and beside the examples, for a wheel and for an editable install."""
        sys.path.insert(0, self.root)
        try:
            from batchy_provider.config.schema import write_files
        finally:
            sys.path.remove(self.root)
        write_files(Path(self.root))
