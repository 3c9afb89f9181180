"""`zoo run`: each task's answer for people and for programs, and inputs that do not go with the model."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy
import pytest
from PIL import Image
from typer.testing import Result

from modelzoo.errors import FailedPrecondition
from modelzoo.wav import encode_wav
from support.fake_workers import FINISH, FakeInference
from support.published import model_of
from support.terminal import on_a_terminal
from zoo.inference.v1 import generation_pb2

Zoo = Callable[..., Result]
TASKS = {
    "chat": "text-generation",
    "minilm": "sentence-similarity",
    "bert": "text-classification",
    "vision": "image-classification",
    "yolos": "object-detection",
    "whisper": "automatic-speech-recognition",
}


@pytest.fixture
def run(zoo: Zoo, tree: Callable[..., Path], request: pytest.FixtureRequest) -> Zoo:
    """`zoo run team/NAME ...`, where NAME is one of TASKS that is published when it is first run."""
    published: set[str] = set()

    def run(name: str, *words: object, stdin: str | bytes | None = None) -> Result:
        if name in TASKS and name not in published:
            assert zoo("push", tree(model_of(TASKS[name]), name), f"team/{name}").exit_code == 0
            published.add(name)
        return zoo("run", f"team/{name}", *words, stdin=stdin)

    return run


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "street.png"
    Image.new("RGB", (100, 80), (90, 120, 150)).save(path)
    return path


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    path = tmp_path / "front.wav"
    path.write_bytes(encode_wav(numpy.zeros(1600, "float32"), 16_000))
    return path


def refusal(result: Result) -> tuple[int, str, str]:
    """Exit code, reason and message of a command that failed and answered nothing."""
    assert result.stdout == ""
    message, reason = result.stderr.splitlines()[0], result.stderr.splitlines()[-1]
    return result.exit_code, reason.removeprefix("reason: "), message.removeprefix("error: ")


def test_language_model_answers_as_it_writes(run: Zoo):
    assert run("chat", "What is it?").stdout == "Paris.\n"
    answered = json.loads(run("chat", "-", "--json", stdin="What\nis it?").stdout)
    assert answered["text"] == "Paris."
    assert answered["finish"]["output_tokens"] == 2


def test_prompt_without_quotes_is_refused_and_shown_with_them(run: Zoo, inference: FakeInference):
    code, reason, message = refusal(run("chat", "What", "is", "it?"))
    assert (code, reason) == (6, "FIELD_INVALID")
    assert '"What is it?"' in message
    assert not inference.seen


def test_text_that_was_cut_is_told_and_a_whole_one_is_not(run: Zoo, inference: FakeInference):
    assert "cut" not in run("chat", "hi").stderr
    inference.finish = generation_pb2.Finish(reason=generation_pb2.FINISH_REASON_LENGTH, usage=FINISH.usage)
    assert "cut after 2 tokens" in run("chat", "hi").stderr


def test_sentences_are_compared(run: Zoo):
    table = run("minilm", "ab", "ba", "much longer").stdout
    assert "1.000" in table
    assert "much longer" in table
    answered = json.loads(run("minilm", "--json", "-", stdin="ab\n\nabc\n").stdout)
    assert answered["embeddings"] == [[2.0, 1.0], [3.0, 1.0]]
    assert refusal(run("minilm", ""))[1] == "INPUT_EMPTY"


def test_texts_are_labelled(run: Zoo, inference: FakeInference):
    assert run("bert", "a cat", "a tin", "--top-k", 2).stdout.splitlines()[:2] == [
        "INPUT  SCORE   LABEL",
        "a cat  0.7500  palace",
    ]
    assert inference.seen[0].top_k == 2
    results = json.loads(run("bert", "-", "--json", stdin="a cat\na kitten\n").stdout)["results"]
    assert [(each["input"], each["labels"][2]["label"]) for each in results] == [
        ("a cat", "length 5"),
        ("a kitten", "length 8"),
    ]


def test_pictures_are_labelled_in_the_order_given(run: Zoo, picture: Path, tmp_path: Path):
    (tmp_path / "other.png").write_bytes(picture.read_bytes() + b"!")
    found = run("vision", picture, tmp_path / "other.png", "--json")
    answered = json.loads(found.stdout)
    size = picture.stat().st_size
    assert answered["reference"] == "team/vision@1"
    assert [each["labels"][2]["label"] for each in answered["results"]] == [f"length {size}", f"length {size + 1}"]
    assert answered["results"][0]["computed"]["compute_s"] == 1.5


def test_picture_comes_from_standard_input(run: Zoo, picture: Path, inference: FakeInference):
    assert "palace" in run("vision", "-", stdin=picture.read_bytes()).stdout
    assert inference.seen[0].image == picture.read_bytes()


@pytest.mark.parametrize("name", ["vision", "yolos", "whisper"])
def test_bad_file_among_several_is_named_and_the_others_are_answered(
    run: Zoo, picture: Path, sound: Path, tmp_path: Path, name: str
):
    good, bad = sound if name == "whisper" else picture, tmp_path / "fake.bin"
    bad.write_bytes(b"")
    result = run(name, good, bad, good)
    assert result.stdout == run(name, good, good).stdout
    assert result.stderr.splitlines()[0].startswith(f"error: {bad}: ")
    assert (result.exit_code, result.stderr.splitlines()[-1]) == (6, "reason: INPUT_EMPTY")
    results = json.loads(run(name, good, bad, good, "--json").stdout)["results"]
    assert ["error" in each for each in results] == [False, True, False]
    assert (results[1]["input"], results[1]["error"]["code"]) == (str(bad), "INVALID_ARGUMENT")
    assert results[1]["error"]["message"].startswith(f"{bad}: ")


def test_single_bad_file_is_named_and_nothing_is_answered(run: Zoo, tmp_path: Path):
    (tmp_path / "fake.jpg").write_bytes(b"")
    code, reason, message = refusal(run("vision", tmp_path / "fake.jpg"))
    assert (code, reason) == (6, "INPUT_EMPTY")
    assert message.startswith(f"{tmp_path / 'fake.jpg'}: ")


def test_what_every_input_would_meet_is_told_once(run: Zoo, picture: Path, inference: FakeInference):
    inference.failing = FailedPrecondition("TASK_MISMATCH", "it does something else")
    result = run("vision", *[picture] * 20)
    assert (result.exit_code, result.stdout, result.stderr.count("error:")) == (6, "", 1)
    assert str(picture) not in result.stderr
    assert len(inference.seen) < 20


@pytest.mark.parametrize(("name", "says"), [("vision", "samples/*.jpg"), ("whisper", "samples/*.wav")])
def test_folder_is_told_to_be_one(run: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, says: str):
    (tmp_path / "samples").mkdir()
    monkeypatch.chdir(tmp_path)
    code, reason, message = refusal(run(name, "samples"))
    assert (code, reason) == (6, "LOCAL_PATH_INVALID")
    assert "'samples' is a folder" in message
    assert says in message


@pytest.mark.parametrize(
    ("option", "given", "bound"),
    [("--top-k", -1, "greater than or equal to 0"), ("--threshold", 1.5, "less than or equal to 1")],
)
def test_option_out_of_its_range_is_told_the_range(run: Zoo, picture: Path, option: str, given: float, bound: str):
    result = run("vision", picture, option, given)
    assert result.exit_code == 2
    assert option in result.stderr
    assert bound in result.stderr


def test_terminal_shows_bars_as_long_as_labels_are_probable(run: Zoo, picture: Path):
    run("vision", picture)
    lines = [row for row in on_a_terminal("run", "team/vision", str(picture)).splitlines() if "%" in row]
    assert [row.split()[:2] for row in lines[:2]] == [["palace", "75.0%"], ["temple", "20.0%"]]
    assert lines[0].count("━") > 0
    assert "\x1b[" in lines[0]


def test_labels_cannot_command_a_terminal(run: Zoo, picture: Path, inference: FakeInference):
    inference.labels = (("pal\x1b]0;owned\x07ace [bold]", 0.5),)
    run("vision", picture)
    shown = on_a_terminal("run", "team/vision", str(picture))
    assert "\x1b]0;" not in shown
    assert "[bold]" in shown


def test_objects_are_listed_with_their_boxes(run: Zoo, picture: Path, inference: FakeInference):
    table = run("yolos", picture, "--threshold", 0.5).stdout.splitlines()
    assert table[0].split() == ["INPUT", "SCORE", "BOX", "LABEL"]
    assert table[1].split()[1:] == ["0.750", "10,20", "60,50", "palace"]
    assert len(table) == 2
    inference.labels = ()
    nothing = run("yolos", picture)
    assert nothing.stdout == ""
    assert nothing.stderr == f"nothing found in {picture} at a score of 0.5 or more; lower --threshold\n"


def test_boxes_are_drawn_where_they_are(run: Zoo, picture: Path, tmp_path: Path):
    out = tmp_path / "boxes.png"
    assert "enlarged 5 times" in run("yolos", picture, "--out", out).stderr
    answered = json.loads(run("yolos", picture, "--out", out, "--threshold", 0.5, "--json").stdout)
    assert answered["results"][0]["out"] == str(out)
    drawn = numpy.asarray(Image.open(out).convert("RGB")).astype(int)
    assert drawn.shape[:2] == (400, 500)  # enlarged five times
    changed = (drawn != (90, 120, 150)).any(axis=2)
    rows, columns = changed.any(axis=1).nonzero()[0], changed.any(axis=0).nonzero()[0]
    assert (columns.min(), columns.max(), rows.max()) == (50, 300, 250)
    assert not changed[130:220, 70:280].any()


def test_drawings_of_several_pictures_go_to_a_folder(run: Zoo, picture: Path, tmp_path: Path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "street.jpg").write_bytes(picture.read_bytes())
    assert run("yolos", picture, tmp_path / "b" / "street.jpg", "--out", tmp_path / "out").exit_code == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["street-2.png", "street.png"]


def test_drawings_of_several_pictures_do_not_go_to_a_folder_called_like_a_file(
    run: Zoo, picture: Path, tmp_path: Path, inference: FakeInference
):
    code, reason, message = refusal(run("yolos", picture, picture, "--out", tmp_path / "two.png"))
    assert (code, reason) == (6, "LOCAL_PATH_INVALID")
    assert "give a folder" in message
    assert not (tmp_path / "two.png").exists()
    assert not inference.seen


@pytest.mark.parametrize("out", ["street.png", "boxes", "boxes.exe", "nowhere/boxes.png"])
def test_drawing_that_cannot_be_written_is_refused_before_anything_is_computed(
    run: Zoo, picture: Path, tmp_path: Path, inference: FakeInference, out: str
):
    before = picture.read_bytes()
    assert refusal(run("yolos", picture, "--out", tmp_path / out))[:2] == (6, "LOCAL_PATH_INVALID")
    assert not inference.seen
    assert picture.read_bytes() == before


def test_sound_is_written_down(run: Zoo, sound: Path, inference: FakeInference):
    assert run("whisper", sound, "--language", "en").stdout == "Paris.\n"
    assert inference.seen[0].language == "en"
    assert run("whisper", sound, "--verbose").stdout == "[0:00.0 - 0:01.0] Par\n[0:01.0 - 0:02.0] is.\n"
    assert run("whisper", sound, sound).stdout == f"{sound}:\nParis.\n\n{sound}:\nParis.\n"
    [result] = json.loads(run("whisper", sound, "--json").stdout)["results"]
    assert (result["text"], result["duration_s"], result["segments"][1]["start_s"]) == ("Paris.", 2.0, 1.0)


@pytest.mark.parametrize(
    ("name", "given", "reason", "says"),
    [
        ("vision", "a cat", "LOCAL_PATH_INVALID", "give the path of a file (PNG, JPEG"),
        ("vision", "front.wav", "TASK_MISMATCH", "takes a picture (PNG, JPEG, WebP, GIF, BMP or TIFF)"),
        ("whisper", "street.png", "TASK_MISMATCH", "is a PNG picture"),
        ("whisper", "hello", "LOCAL_PATH_INVALID", "WAV, FLAC"),
        ("bert", "street.png", "TASK_MISMATCH", "takes text"),
        ("minilm", "front.wav", "TASK_MISMATCH", "takes text"),
        ("chat", "street.png", "TASK_MISMATCH", "takes text"),
    ],
)
def test_wrong_kind_of_input_is_told_what_to_give(
    run: Zoo,
    picture: Path,
    sound: Path,
    monkeypatch: pytest.MonkeyPatch,
    inference: FakeInference,
    name: str,
    given: str,
    reason: str,
    says: str,
):
    monkeypatch.chdir(picture.parent)
    code, found, message = refusal(run(name, given))
    assert (code, found) == (6, reason)
    assert says in message
    assert not inference.seen


def test_text_that_is_also_the_name_of_a_file_is_run_with_a_word_about_it(run: Zoo, tmp_path: Path):
    (tmp_path / "notes.txt").write_text("hello")
    assert "is taken as a text" in run("bert", tmp_path / "notes.txt").stderr


def test_standard_input_that_is_no_text_is_refused(run: Zoo):
    assert refusal(run("bert", "-", stdin=b"\xff\xfe\x00"))[1] == "TEXT_INVALID"


@pytest.mark.parametrize("option", [("--threshold", 0), ("--out", "x.png"), ("--raw",), ("--stop", "x"), ("--seed", 0)])
def test_option_of_another_task_is_refused(run: Zoo, picture: Path, option: tuple[object, ...]):
    code, reason, message = refusal(run("vision", picture, *option))
    assert (code, reason) == (6, "FIELD_INVALID")
    assert f"{option[0]} means nothing to team/vision@1" in message
    assert "--top-k" in message


def test_task_that_is_not_run_here_is_refused(zoo: Zoo, tree: Callable[..., Path]):
    zoo("push", tree({"data.bin": b"1"}), "team/data")
    assert refusal(zoo("run", "team/data", "hi"))[:2] == (6, "TASK_MISMATCH")


def test_misspelt_model_is_told_the_names_that_come_close(run: Zoo):
    run("chat", "hi")
    result = run("chta", "hi")
    assert result.exit_code == 3
    assert "Did you mean team/chat?" in result.stderr
    assert "Did you mean" not in run("zzzzzz", "hi").stderr


def test_help_teaches_by_examples(zoo: Zoo):
    text = zoo("run", "--help").stdout
    assert "zoo run zoo/efficientnet-lite0 china.jpg flower.jpg --top-k 3\n" in text
    assert "zoo run zoo/whisper-tiny.en" in text
