# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Makes cfg/bundles/extract.zip of the folder beside it, the same bytes each time: run it after an edit."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

FOLDER = Path(__file__).parents[3] / "cfg" / "bundles" / "extract"
ZIP = FOLDER.with_suffix(".zip")


def zip_bytes(folder: Path) -> bytes:
    """Zip a folder without compression, whose bytes depend on the zlib, and without clock times."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                entry = zipfile.ZipInfo(path.relative_to(folder).as_posix(), (1980, 1, 1, 0, 0, 0))
                entry.create_system = 3
                entry.external_attr = (0o755 if path.suffix == ".sh" else 0o644) << 16
                archive.writestr(entry, path.read_bytes())
    return buffer.getvalue()


if __name__ == "__main__":
    ZIP.write_bytes(zip_bytes(FOLDER))
