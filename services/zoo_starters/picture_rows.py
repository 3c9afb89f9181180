"""Rows with pictures, as a dataset's Parquet has them."""

import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

__all__ = ["jpeg", "write_rows"]

JPEG_QUALITY = 90


def jpeg(pixels: Any) -> bytes:
    """uint8 (height, width, 3) as a file."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=JPEG_QUALITY)
    return file.getvalue()


def write_rows(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Leave them in a file, pictures as bytes."""
    import pyarrow
    from pyarrow import parquet

    cast(Any, parquet).write_table(cast(Any, pyarrow).Table.from_pylist(list(rows)), path, compression="none")
