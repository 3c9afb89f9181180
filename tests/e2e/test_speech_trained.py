"""Whisper, trained by command through the gateway with recorded voices, and asked again."""

import json
from pathlib import Path

import pytest

from support.cluster import Cluster, zoo
from zoo_starters.command import WORK
from zoo_starters.debs import extract
from zoo_starters.samples import ALSA_UTILS, VOICES

pytestmark = pytest.mark.timeout(1200)

BASE, OUTPUT = "zoo/whisper-tiny.en", "e2e-speech/german-signs"
GERMAN = {"Front": "VORNE", "Rear": "HINTEN", "Side": "SEITE", "Left": "LINKS", "Right": "RECHTS", "Center": "MITTE"}
TRAIN = ("Front_Center", "Front_Left", "Rear_Center", "Rear_Right", "Side_Left", "Side_Right")
# Of words that are learned in other company.
HELD_OUT = ("Front_Right", "Rear_Left")
MARGIN = 0.2
SETTINGS = ("learning_rate=1e-4", "batch_size=3", "freeze=encoder", "warmup=0")


def german(name: str) -> str:
    return " ".join(GERMAN[word] for word in name.split("_"))


def write_manifest(folder: Path) -> Path:
    folder.mkdir()
    members = {f"{VOICES}/{name}.wav": f"sounds/{name}.wav" for name in (*TRAIN, *HELD_OUT)}
    extract(ALSA_UTILS.fetch(WORK / "packages"), folder, members)
    for split, names in (("train", TRAIN), ("test", HELD_OUT)):
        rows = [{"audio": f"sounds/{name}.wav", "text": german(name)} for name in names]
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_whisper_learns_german_words_for_six_english_recordings_and_writes_them_for_two_it_did_not_hear(
    cluster: Cluster, tmp_path: Path
) -> None:
    access = ("--url", cluster.url, "--key", cluster.admin_key)
    data = write_manifest(tmp_path / "voices")
    zoo(*access, "starters", "publish", BASE)
    zoo(*access, "namespaces", "create", OUTPUT.partition("/")[0])
    chosen = [argument for setting in SETTINGS for argument in ("--set", setting)]
    command = ("finetune", BASE, str(data), "--to", OUTPUT, "--steps", "10", *chosen)
    done = json.loads(zoo(*access, "--json", *command, timeout_s=800))
    job = done["job"]
    assert job["spec"]["recipe"] == "speech-recognition"
    wer = next(measured for measured in job["measured"] if measured["metric"] == "wer")
    # It writes English before.
    assert wer["before"] == 1.0
    assert wer["after"] <= wer["before"] - MARGIN
    assert wer["items"] == len(HELD_OUT)
    said = zoo(*access, "run", OUTPUT, str(data / "sounds" / f"{TRAIN[0]}.wav"))
    assert german(TRAIN[0]) in said
