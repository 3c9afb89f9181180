"""Tokens to text, and where it stops."""

import itertools
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from modelzoo.tasks.tokenizing import Tokenizing
from support.tiny_models import byte_tokenizer
from zoo_inference.generation.detokenizer import OPEN_MAX, Detokenizer
from zoo_inference.generation.stops import StopFilter

TOKENIZING = Tokenizing(byte_tokenizer())
FIRST_BYTE = 6
# Unicode without surrogates; every character outside ASCII is several tokens here.
texts = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\ufffd"), max_size=40)


def tokens_of(text: str) -> list[int]:
    return TOKENIZING.encode(text, add_special_tokens=False)


def pieces_of(tokens: Sequence[int], prompt: Sequence[int] = ()) -> list[str]:
    detokenizer = Detokenizer(TOKENIZING, prompt)
    return [*(detokenizer.push(token) for token in tokens), detokenizer.flush()]


@given(prompt=texts, text=texts)
def test_the_pieces_are_the_text_and_each_is_whole(prompt: str, text: str) -> None:
    pieces = pieces_of(tokens_of(text), tokens_of(prompt))
    assert "".join(pieces) == text
    assert "\ufffd" not in "".join(pieces)
    assert [piece for piece in pieces if piece] == list(text)


@given(st.lists(st.integers(FIRST_BYTE, FIRST_BYTE + 255), max_size=60), texts)
def test_bytes_that_are_no_text_do_not_spoil_what_follows(noise: list[int], text: str) -> None:
    said = "".join(pieces_of([*noise, *tokens_of("." + text)]))
    assert said.endswith("." + text)


def test_endless_noise_is_said_in_time() -> None:
    continuation = tokens_of("é")[1]
    pieces = pieces_of([continuation] * 100)
    assert "".join(pieces[: OPEN_MAX + 1]), "it was held back for ever"
    assert "".join(pieces) == "\ufffd" * 100


def test_a_replacement_character_that_the_model_writes_is_said() -> None:
    assert "".join(pieces_of(tokens_of("a\ufffdb\ufffd"))) == "a\ufffdb\ufffd"


@given(
    text=st.text("ab", max_size=30),
    stops=st.lists(st.text("ab", min_size=1, max_size=4), max_size=3),
    cuts=st.lists(st.integers(0, 30), max_size=5),
)
def test_a_text_ends_before_its_first_stop_however_it_is_cut(text: str, stops: list[str], cuts: list[int]) -> None:
    stop_filter = StopFilter(stops)
    edges = sorted({0, len(text), *(min(cut, len(text)) for cut in cuts)})
    said = ""
    for start, end in itertools.pairwise(edges):
        said += stop_filter.push(text[start:end])
        assert not any(stop in said for stop in stops)
    said += stop_filter.flush()
    # The first stop to be complete ends the text, so of those that overlap the one that ends first.
    complete = [text.find(stop) + len(stop) for stop in stops if stop in text]
    if not complete:
        assert said == text
        assert not stop_filter.stopped
    else:
        assert stop_filter.stopped
        assert text.startswith(said)
        assert len(said) < min(complete)
        assert not any(stop in said for stop in stops)


def test_what_may_become_a_stop_is_held_back_until_it_is_not() -> None:
    stop_filter = StopFilter(["</s>", "<|end|>"])
    assert [stop_filter.push(piece) for piece in ("a<", "/", "x", "<|en", "d")] == ["a", "", "</x", "", ""]
    assert stop_filter.flush() == "<|end"
