"""Facts of Parquet files, from their footers alone. Needs pyarrow."""

from collections.abc import Callable, Mapping
from typing import Any, BinaryIO, cast

from modelzoo.datasets.facts import DatasetFacts, Feature, Split
from modelzoo.datasets.layout import dataset_invalid
from modelzoo.errors import FailedPrecondition

__all__ = ["open_parquet", "read_parquet"]

# Footers of files with thousands of row groups are a few megabytes.
FOOTER_BYTES_MAX = 64 * 1024 * 1024
MAGIC = b"PAR1"


def read_parquet(
    splits: Mapping[str, list[str]], sizes: Mapping[str, int], open_file: Callable[[str], BinaryIO]
) -> DatasetFacts:
    """DATASET_INVALID for a file that is truncated or no Parquet, and for files with different columns."""
    features: tuple[Feature, ...] | None = None
    found: list[Split] = []
    for name, paths in splits.items():
        rows = 0
        for path in paths:
            with open_file(path) as file:
                count, own = _footer(path, file, sizes[path])
            rows += count
            if features is not None and own != features:
                raise dataset_invalid(f"{path} has other columns than {splits[found[0].name if found else name][0]}")
            features = own
        found.append(Split(name, rows, sum(sizes[path] for path in paths), len(paths)))
    return DatasetFacts("parquet", tuple(found), features or ())


def open_parquet(path: str, file: BinaryIO, size: int) -> Any:
    """pyarrow's ParquetFile. DATASET_INVALID where it is truncated or no Parquet."""
    parquet = _pyarrow()
    file.seek(max(0, size - 8))
    end = file.read(8)
    length = int.from_bytes(end[:4], "little")
    if end[4:] != MAGIC or length > min(FOOTER_BYTES_MAX, size - 12):
        raise dataset_invalid(f"{path} does not end as Parquet does: it is truncated, or something else")
    file.seek(0)
    try:
        return parquet.ParquetFile(file)
    # pyarrow raises every kind over foreign bytes.
    except Exception as error:
        raise dataset_invalid(f"{path} cannot be read as Parquet ({type(error).__name__})") from error


def _footer(path: str, file: BinaryIO, size: int) -> tuple[int, tuple[Feature, ...]]:
    opened = open_parquet(path, file, size)
    try:
        schema = opened.schema_arrow
        rows = int(opened.metadata.num_rows)
    except Exception as error:
        raise dataset_invalid(f"{path} cannot be read as Parquet ({type(error).__name__})") from error
    return rows, tuple(Feature(column.name, _type(column), column.nullable) for column in schema)


def _type(column: Any) -> str:
    import pyarrow

    types = cast(Any, pyarrow).types
    kinds = {
        "string": types.is_string(column.type) or types.is_large_string(column.type),
        "boolean": types.is_boolean(column.type),
        "integer": types.is_integer(column.type),
        "number": types.is_floating(column.type) or types.is_decimal(column.type),
        "list": types.is_list(column.type) or types.is_large_list(column.type) or types.is_fixed_size_list(column.type),
        "null": types.is_null(column.type),
    }
    return next((kind for kind, holds in kinds.items() if holds), "object")


def _pyarrow() -> Any:
    try:
        from pyarrow import parquet
    except ModuleNotFoundError as error:
        raise FailedPrecondition(
            "PACKAGE_MISSING", "Parquet is read by pyarrow, which is not installed: pip install 'modelzoo[datasets]'."
        ) from error
    return parquet
