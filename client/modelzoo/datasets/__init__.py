"""Datasets as directories: which files are the rows of which split, and what the rows are, read from the bytes.

One format for the whole of a dataset, told by the files themselves:

    parquet         *.parquet
    coco            *.json with `images`, `annotations` and `categories`, and pictures
    audio-manifest  *.jsonl, *.csv or *.tsv with a column of paths of sound files that lie beside it
    jsonl           *.jsonl or *.ndjson: an object a line
    csv             *.csv or *.tsv with a line of names first (RFC 4180, UTF-8)
    image-folder    pictures, the folder of each being its label

Splits are told by names as on the Hugging Face Hub: `train.jsonl`, `data/test-00000-of-00002.parquet`,
`validation/cat/1.png`; `valid`, `val` and `dev` mean validation, `eval` means test. What names none is of `train`.
"""

from modelzoo.datasets.facts import DatasetFacts, Feature, Split
from modelzoo.datasets.reading import read_dataset
from modelzoo.datasets.streaming import Row, stream_rows

__all__ = ["DatasetFacts", "Feature", "Row", "Split", "read_dataset", "stream_rows"]
