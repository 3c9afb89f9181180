"""Parquet files: facts from their footers alone, and their rows. Needs pyarrow."""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO, cast

from modelzoo.datasets.facts import DatasetFacts, Feature, Split
from modelzoo.datasets.layout import dataset_invalid
from modelzoo.datasets.tables import Row
from modelzoo.errors import FailedPrecondition

__all__ = ["open_parquet", "parquet_rows", "read_parquet"]

# Footers of files with thousands of row groups are a few megabytes.
FOOTER_BYTES_MAX = 64 * 1024 * 1024
MAGIC = b"PAR1"
ROWS_AT_ONCE = 1000
# Pictures and sounds are megabytes each.
ROWS_OF_BYTES_AT_ONCE = 16
# Where Hugging Face's datasets keep what their columns mean.
HUB_KEY = b"huggingface"


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
            if features is not None and _bare(own) != _bare(features):
                raise dataset_invalid(f"{path} has other columns than {splits[found[0].name if found else name][0]}")
            features = own if features is None else _joined(features, own)
        found.append(Split(name, rows, sum(sizes[path] for path in paths), len(paths)))
    return DatasetFacts("parquet", tuple(found), features or ())


def open_parquet(path: str, file: BinaryIO, size: int) -> Any:
    """pyarrow's ParquetFile. DATASET_INVALID where it is truncated or no Parquet."""
    parquet = _pyarrow()
    file.seek(max(0, size - 8))
    end = file.read(8)
    length = int.from_bytes(end[:4], "little")
    if end[4:] != MAGIC or length > min(FOOTER_BYTES_MAX, size - 12):
        raise dataset_invalid(
            f"{path} does not end as Parquet does: it is truncated, or something else: write it again"
        )
    file.seek(0)
    try:
        return parquet.ParquetFile(file)
    # pyarrow raises every kind over foreign bytes.
    except Exception as error:
        raise dataset_invalid(f"{path} cannot be read as Parquet ({type(error).__name__})") from error


def parquet_rows(opened: Any) -> Iterator[Row]:
    """The rows of what `open_parquet` opened. Numbers of classes whose names the file has, as the Hub writes them,
    become the names. Raises what pyarrow raises over damaged bytes."""
    import pyarrow

    types: Any = cast(Any, pyarrow).types
    schema = opened.schema_arrow
    kinds = [column.type for column in schema]
    kinds += [field.type for kind in kinds if types.is_struct(kind) for field in kind]
    has_bytes = any(types.is_binary(kind) or types.is_large_binary(kind) for kind in kinds)
    named = _class_names(schema)
    for batch in opened.iter_batches(ROWS_OF_BYTES_AT_ONCE if has_bytes else ROWS_AT_ONCE):
        for row in cast(list[dict[str, Any]], batch.to_pylist()):
            for column, names in named.items():
                row[column] = _name(names, row.get(column))
            yield row


def _class_names(schema: Any) -> dict[str, list[Any]]:
    try:
        features: Any = json.loads(cast(dict[bytes, bytes], schema.metadata or {})[HUB_KEY])["info"]["features"]
        classes = {name: _class_of(feature) for name, feature in features.items()}
        return {name: kind["names"] for name, kind in classes.items() if kind and isinstance(kind["names"], list)}
    except (ValueError, KeyError, TypeError, AttributeError):  # of others, or of another release
        return {}


def _class_of(feature: Any) -> Any:
    """What names the classes of a column of numbers, or of lists of them; None for one of other things."""
    match feature:
        case {"_type": "ClassLabel"}:
            return feature
        case {"_type": "Sequence" | "List" | "LargeList", "feature": inner} | [inner]:
            return _class_of(inner)
        case _:
            return None


def _name(names: list[Any], number: Any) -> Any:
    if isinstance(number, list):
        return [_name(names, each) for each in cast(list[Any], number)]
    return str(names[number]) if isinstance(number, int) and 0 <= number < len(names) else number


def _footer(path: str, file: BinaryIO, size: int) -> tuple[int, tuple[Feature, ...]]:
    opened = open_parquet(path, file, size)
    try:
        schema = opened.schema_arrow
        rows = int(opened.metadata.num_rows)
        lacking = _columns_with_gaps(opened.metadata)
    except Exception as error:
        raise dataset_invalid(f"{path} cannot be read as Parquet ({type(error).__name__})") from error
    return rows, tuple(Feature(column.name, _type(column), column.name in lacking) for column in schema)


def _bare(features: tuple[Feature, ...]) -> list[tuple[str, str]]:
    return [(each.name, each.type) for each in features]


def _joined(some: tuple[Feature, ...], others: tuple[Feature, ...]) -> tuple[Feature, ...]:
    """Of the same columns."""
    pairs = zip(some, others, strict=True)
    return tuple(Feature(one.name, one.type, one.optional or other.optional) for one, other in pairs)


def _columns_with_gaps(metadata: Any) -> set[str]:
    """Flat columns of which some rows have no value, as far as the file says how many. That a column may lack values
    says nothing: most writers declare all of them so."""
    groups = (metadata.row_group(number) for number in range(metadata.num_row_groups))
    chunks = (group.column(number) for group in groups for number in range(group.num_columns))
    return {
        str(chunk.path_in_schema)
        for chunk in chunks
        if chunk.is_stats_set and chunk.statistics.has_null_count and chunk.statistics.null_count
    }


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
