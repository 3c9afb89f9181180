"""Word and character error rates: what counts as an error, over which words, and which rows are shown."""

import pytest

from zoo_trainer.evaluation import Measurement
from zoo_trainer.word_errors import Spoken, measure_transcripts, normalise


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Hello,  WORLD!", "hello world"),
        ("don\u2019t 'quote' l'eau", "don't quote l'eau"),
        ("Stra\u00dfe", "strasse"),
        ("cafe\u0301", "caf\u00e9"),
        ("one-two (3)", "one two 3"),
        ("... \u2014 ?", ""),
    ],
)
def test_case_and_punctuation_do_not_count_and_accents_do(text: str, words: str) -> None:
    assert normalise(text) == words


def test_errors_are_counted_over_the_words_of_all_rows_together() -> None:
    rows = [Spoken(1, "a b c d", "a b c d"), Spoken(2, "a", "a x"), Spoken(3, "", "y"), Spoken(4, "b c", "")]
    measured = measure_transcripts(rows, 0.5)
    # One put in, one where nothing was said, two left out; of seven words.
    assert measured.metrics == {"wer": pytest.approx(4 / 7), "cer": pytest.approx(6 / 11), "loss": 0.5}
    assert measured.items == 4


def test_the_worst_rows_are_shown_worst_first_and_cut() -> None:
    rows = [Spoken(number, "a b " * 100, "a b " * (100 - number)) for number in range(1, 31)]
    measured = measure_transcripts(rows, 0.0)
    assert [each.row for each in measured.misheard] == list(range(30, 10, -1))
    assert (measured.misheard[0].errors, measured.misheard[0].words) == (60, 200)
    assert len(measured.misheard[0].said) == 200
    assert Measurement.from_json(measured.to_json()) == measured


def test_texts_can_be_compared_as_they_are() -> None:
    rows = [Spoken(1, "Hello, world", "hello world")]
    assert measure_transcripts(rows, 0.0).metrics["wer"] == 0
    assert measure_transcripts(rows, 0.0, normalised=False).metrics["wer"] == 0.5
