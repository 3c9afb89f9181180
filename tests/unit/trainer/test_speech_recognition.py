"""What the recipe speech-recognition teaches, what it leaves alone, and what it refuses."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from modelzoo.errors import ZooError
from modelzoo.media.audio import decode_audio
from modelzoo.tasks.opening import open_task
from modelzoo.tasks.transcription import RATE_HZ, Transcriber, joined
from support.tiny_speech import LANGUAGES, spoken, tiny_ctc, tiny_hearing, tiny_whisper, wav, write_spoken
from support.training import Attempt, attempt, lease
from zoo_trainer.recipes import Start, find_recipe
from zoo_trainer.splits import divide

RECIPE = find_recipe("speech-recognition")
LEARNING = {"learning_rate": 8e-3, "freeze": "none", "mask_time": 0.0}
STEPS = 70


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_spoken(tmp_path_factory.mktemp("data") / "tones")


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("bases")
    makers: dict[str, Callable[[Path], Path]] = {
        "whisper": tiny_whisper,
        "several": lambda path: tiny_whisper(path, languages=LANGUAGES),
        "ctc": tiny_ctc,
        "hearing": tiny_hearing,
    }
    return {name: make(folder / name) for name, make in makers.items()}


@pytest.fixture(scope="module")
def learned(bases: Mapping[str, Path], data: Path, tmp_path_factory: pytest.TempPathFactory) -> Attempt:
    torch.set_num_threads(1)
    leased = lease("speech-recognition", LEARNING, steps=STEPS)
    return attempt(tmp_path_factory.mktemp("learned"), bases["hearing"], data, leased)


def start(folder: Path, base: Path, data: Path, **settings: Any) -> Any:
    """The learner, and the notes it left as its attribute `notes`."""
    folder.mkdir(exist_ok=True)
    splits = divide(data, folder, with_validation=False)
    notes: list[str] = []
    started = Start(base, "zoo/base@1", splits.train, splits.held_out, RECIPE.read_settings(settings), 7, notes)
    learner: Any = RECIPE.start(started)
    learner.notes = notes
    return learner


def example(learner: Any, row: int = 0, epoch: int = 0) -> Any:
    return learner.encode(learner.rows[row], torch.Generator().manual_seed(epoch))


@pytest.mark.parametrize(
    ("base", "settings", "tokens"),
    [
        ("whisper", {}, ["<|startoftranscript|>", "<|notimestamps|>"]),
        (
            "several",
            {"language": "de"},
            ["<|startoftranscript|>", "<|de|>", "<|transcribe|>", "<|notimestamps|>"],
        ),
        (
            "several",
            {"language": "en", "task": "translate"},
            ["<|startoftranscript|>", "<|en|>", "<|translate|>", "<|notimestamps|>"],
        ),
    ],
)
def test_whisper_is_given_its_start_tokens_and_learns_the_text_and_its_end(
    bases: Mapping[str, Path], data: Path, tmp_path: Path, base: str, settings: dict[str, str], tokens: list[str]
) -> None:
    learner = start(tmp_path, bases[base], data, **settings)
    batch = learner.collate([example(learner, 0), example(learner, 2)])
    read = learner._tokenizer
    given = batch["decoder_input_ids"][0].tolist()
    labels = [token for token in batch["labels"][0].tolist() if token != -100]
    assert read.convert_ids_to_tokens(given[: len(tokens)]) == tokens
    assert read.decode(labels) == " low<|endoftext|>"
    # A label stands where the token before it is given; the shorter text is padded with what is not learned.
    first = len(tokens) - 1
    assert batch["labels"][0].tolist()[: first + len(labels)] == [-100] * first + labels
    assert given[first + 1 : first + len(labels)] == labels[:-1]
    assert learner.items(batch) == int((batch["labels"] != -100).sum())
    assert batch["labels"].shape == batch["decoder_input_ids"].shape


def test_a_whisper_of_several_languages_speaks_the_one_it_learned_unasked(
    bases: Mapping[str, Path], data: Path, tmp_path: Path
) -> None:
    learner = start(tmp_path / "rows", bases["several"], data, language="de")
    (tmp_path / "result").mkdir()
    learner.save(tmp_path / "result")
    said = json.loads((tmp_path / "result" / "generation_config.json").read_text())
    assert (said["language"], said["task"]) == ("de", "transcribe")
    # "w" was never to be written, and the texts have it; "(" still is not.
    assert said["suppress_tokens"] == learner._tokenizer.convert_tokens_to_ids(["(", ")"])


@pytest.mark.parametrize(
    ("base", "settings", "says"),
    [
        ("several", {}, "set language to one of de, en"),
        ("several", {"language": "fr"}, "set language to one of de, en"),
        ("whisper", {"language": "de"}, "knows one language"),
        ("ctc", {"language": "de"}, "are Whisper's"),
        ("ctc", {"trained_layers": 3}, "the base has 2"),
        ("whisper", {"trained_layers": 3}, "decoder has 2"),
    ],
)
def test_settings_that_do_not_go_with_the_base_are_refused(
    bases: Mapping[str, Path], data: Path, tmp_path: Path, base: str, settings: dict[str, Any], says: str
) -> None:
    with pytest.raises(ZooError, match=says) as caught:
        start(tmp_path, bases[base], data, **settings)
    assert caught.value.reason == "PARAMETER_INVALID"


def test_a_base_that_hears_nothing_is_unsuitable(encoder: Path, data: Path, tmp_path: Path) -> None:
    with pytest.raises(ZooError) as caught:
        start(tmp_path, encoder, data)
    assert caught.value.reason == "BASE_UNSUITABLE"


@pytest.mark.parametrize(
    ("base", "settings", "rests", "learns"),
    [
        ("whisper", {}, set(), {"model.encoder.conv1", "model.encoder.layers", "model.decoder.layers"}),
        (
            "whisper",
            {"freeze": "encoder"},
            {"model.encoder.conv1", "model.encoder.layers"},
            {"model.decoder.layers", "model.decoder.embed_tokens"},
        ),
        (
            "whisper",
            {"trained_layers": 1},
            {"model.encoder.layers", "model.decoder.layers.0", "model.decoder.embed_tokens"},
            {"model.decoder.layers.1", "model.decoder.layer_norm"},
        ),
        ("ctc", {}, {"wav2vec2.feature_extractor"}, {"wav2vec2.feature_projection", "wav2vec2.encoder", "lm_head"}),
        ("ctc", {"freeze": "none"}, set(), {"wav2vec2.feature_extractor", "lm_head"}),
        ("ctc", {"freeze": "encoder"}, {"wav2vec2"}, {"lm_head"}),
        ("ctc", {"trained_layers": 1}, {"wav2vec2.encoder.layers.0"}, {"wav2vec2.encoder.layers.1", "lm_head"}),
    ],
)
def test_what_rests_and_what_learns(
    bases: Mapping[str, Path],
    data: Path,
    tmp_path: Path,
    base: str,
    settings: dict[str, Any],
    rests: set[str],
    learns: set[str],
) -> None:
    learner = start(tmp_path, bases[base], data, **settings)
    trained = {name: each.requires_grad for name, each in learner.model.named_parameters()}
    for parts, expected in ((rests, False), (learns, True)):
        for part in parts:
            found = {value for name, value in trained.items() if name.startswith(f"{part}.")}
            assert found == {expected}, part


@pytest.mark.parametrize(("base", "what"), [("whisper", "features"), ("ctc", "hidden")])
def test_what_is_hidden_is_drawn_from_the_generator_alone(
    bases: Mapping[str, Path], data: Path, tmp_path: Path, base: str, what: str
) -> None:
    learner = start(tmp_path, bases[base], data, mask_time=0.4, mask_span=3)
    state = torch.get_rng_state()
    first, again, other = (getattr(example(learner, 2, epoch), what) for epoch in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(state, torch.get_rng_state())


def test_hidden_frames_change_what_a_ctc_model_says(bases: Mapping[str, Path], data: Path, tmp_path: Path) -> None:
    learner = start(tmp_path, bases["ctc"], data, mask_time=0.5, mask_span=4)
    batch = learner.collate([example(learner, row) for row in range(4)])
    shown = {**batch, "hidden": torch.zeros_like(batch["hidden"])}
    learner.model.eval()
    assert batch["hidden"].any()
    assert learner.loss(learner.model, batch) != learner.loss(learner.model, shown)


def test_a_base_without_characters_gets_those_of_the_texts(
    bases: Mapping[str, Path], data: Path, tmp_path: Path
) -> None:
    learner = start(tmp_path, bases["hearing"], data)
    vocabulary = learner._processor.tokenizer.get_vocab()
    assert sorted(vocabulary, key=vocabulary.__getitem__) == ["<pad>", "<unk>", "|", *sorted({*"lowmiddlehigh"})]
    assert learner.model.config.vocab_size == learner.model.lm_head.out_features == len(vocabulary)
    assert learner._blank == learner.model.config.pad_token_id == 0
    assert any("A new vocabulary of 12 characters" in note for note in learner.notes)


def test_the_characters_of_a_base_are_used_in_the_case_that_it_has(bases: Mapping[str, Path], tmp_path: Path) -> None:
    folder = write_spoken(tmp_path / "data")
    rows = [json.loads(line) for line in (folder / "train.jsonl").read_text().splitlines()]
    rows[0]["text"] = "lów, l"
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    learner = start(tmp_path / "rows", bases["ctc"], folder)
    tokens = example(learner, 0).text
    assert "".join(learner._processor.tokenizer.convert_ids_to_tokens(tokens)) == "LW|L"
    assert any("lacks 1 characters" in note and "ó" in note for note in learner.notes)


def test_tones_are_learned_and_what_is_served_is_what_was_measured(learned: Attempt, data: Path) -> None:
    wer, cer, loss = (learned.measured(metric) for metric in ("wer", "cer", "loss"))
    assert wer.before >= 1.0 > wer.after
    assert cer.before > 0.9 > 0.6 > cer.after
    assert loss.after < loss.before / 2
    model = open_task(learned.result)
    assert isinstance(model, Transcriber)
    tables = json.loads((learned.result / "evaluation.json").read_text())
    wrong = {each["row"]: each["written"] for each in tables["after"]["misheard"]}
    for number, line in enumerate((data / "test.jsonl").read_text().splitlines(), 1):
        row = json.loads(line)
        sound = decode_audio((data / row["audio"]).read_bytes(), RATE_HZ)
        said = joined(model.compute(model.prepare(sound))).text
        assert said == wrong.get(number, row["text"])
    assert len(tables["before"]["misheard"]) == 4
    assert "pipeline_tag: automatic-speech-recognition" in (learned.result / "README.md").read_text()


def test_a_result_can_be_learned_from_again_with_its_own_characters(
    learned: Attempt, data: Path, tmp_path: Path
) -> None:
    learner = start(tmp_path, learned.result, data)
    assert not any("new vocabulary" in note for note in learner.notes)
    assert learner.measure(learner._start.held_out, 4, _NoOrders()).metrics["wer"] == learned.measured("wer").after


def test_rows_that_are_too_long_are_left_out_and_counted(bases: Mapping[str, Path], tmp_path: Path) -> None:
    folder = write_spoken(tmp_path / "data")
    (folder / "sounds" / "3.wav").write_bytes(spoken("low " * 10, 1))
    learner = start(tmp_path / "rows", bases["whisper"], folder)
    assert len(learner.rows) == 15
    assert any("1 of 16 rows of train are too long, or their texts, and were left out: 4." in n for n in learner.notes)
    with pytest.raises(ZooError, match="no row of train is short enough") as caught:
        start(tmp_path / "none", bases["whisper"], folder, max_seconds=0.1)
    assert caught.value.reason == "DATASET_UNSUITABLE"


def test_sounds_that_cannot_be_heard_are_told_by_their_rows(bases: Mapping[str, Path], tmp_path: Path) -> None:
    folder = write_spoken(tmp_path / "data")
    (folder / "sounds" / "1.wav").write_bytes(wav(torch.zeros(0).numpy()))
    (folder / "sounds" / "17.wav").write_bytes(wav(torch.zeros(8).numpy(), 1))
    with pytest.raises(ZooError) as caught:
        start(tmp_path / "rows", bases["ctc"], folder)
    assert caught.value.reason == "DATASET_UNSUITABLE"
    assert "row 2 of train" in caught.value.message
    assert "without a sample" in caught.value.message
    assert "row 2 of the rows to measure on" in caught.value.message
    assert "1 samples a second" in caught.value.message


def test_a_file_outside_of_the_dataset_is_not_read(bases: Mapping[str, Path], tmp_path: Path) -> None:
    folder = write_spoken(tmp_path / "data")
    outside = tmp_path / "secret.wav"
    outside.write_bytes(spoken("low", 1))
    row = {"audio": str(outside), "text": "low"}
    (folder / "test.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(ZooError, match="outside of the dataset"):
        start(tmp_path / "rows", bases["ctc"], folder)


def test_the_same_sound_is_never_in_train_and_held_out_whatever_is_said_of_it(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    rows: list[dict[str, str]] = []
    for number in range(20):
        (folder / f"{number}.wav").write_bytes(spoken("low", number // 2))
        rows.append({"audio": f"{number}.wav", "text": f"text {number}", "speaker": str(number)})
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    splits = divide(folder, tmp_path, with_validation=False)
    assert (len(splits.train) + len(splits.held_out), splits.repeated) == (20, 0)
    assert len(splits.held_out) % 2 == 0


class _NoOrders:
    def check(self) -> None:
        """Nobody wants anything."""
