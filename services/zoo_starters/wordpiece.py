"""A WordPiece vocabulary learned from texts, the same on every run (Schuster and Nakajima 2012; Devlin et al. 2018)."""

from collections.abc import Sequence
from typing import Any, cast

__all__ = ["learn_vocabulary"]

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
CONTINUES = "##"
COUNT_MIN = 2


def learn_vocabulary(texts: Sequence[str], size: int) -> dict[str, int]:
    """Tokens and their numbers as BertTokenizer takes them, for uncased text; SPECIAL come first."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    normalizer = normalizers.BertNormalizer(lowercase=True)
    characters = sorted(set("".join(normalizer.normalize_str(text) for text in texts)) - {" "})
    learner = Tokenizer(models.WordPiece(unk_token="[UNK]"))  # noqa: S106
    cast(Any, learner).normalizer = normalizer
    cast(Any, learner).pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    # The trainer numbers continuing characters as a hash map yields the words, and breaks ties by number: pieces then
    # differ from run to run. Numbered beforehand, as special tokens are, they do not.
    trainer = trainers.WordPieceTrainer(
        vocab_size=size,
        min_frequency=COUNT_MIN,
        show_progress=False,
        special_tokens=[*SPECIAL, *(CONTINUES + each for each in characters)],
    )
    learner.train_from_iterator(texts, trainer)
    return learner.get_vocab()
