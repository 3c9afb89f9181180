"""Small models made on the spot, in the form in which the Hub keeps them: seeded random weights, a byte tokenizer.

`reciting_gpt2` is the exception: its weights are set so that it says a given text, whatever it reads.
"""

import json
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertModel,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

__all__ = ["END", "byte_tokenizer", "reciting_gpt2", "tiny_gpt2", "tiny_llama", "tiny_sentence_encoder"]

START, END, PAD, CLS, SEP, UNKNOWN = "<|start|>", "<|end|>", "<|pad|>", "[CLS]", "[SEP]", "[UNK]"
SPECIAL = (START, END, PAD, CLS, SEP, UNKNOWN)
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|start|>' + message['role'] + '\\n' + message['content'] + '<|end|>\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start|>assistant\\n' }}{% endif %}"
)
CONTEXT = 1024


def byte_tokenizer(*, chat_template: str | None = CHAT_TEMPLATE, sentence: bool = False) -> PreTrainedTokenizerFast:
    """One token for each of the 256 bytes (a character outside ASCII is several) after six special ones.

    With `sentence`, texts are wrapped in [CLS] and [SEP] as BERT wants them.
    """
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate([*SPECIAL, *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    if sentence:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{CLS} $A {SEP}", special_tokens=[(token, vocabulary[token]) for token in (CLS, SEP)]
        )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=START,
        eos_token=END,
        pad_token=PAD,
        cls_token=CLS,
        sep_token=SEP,
        unk_token=UNKNOWN,
        model_max_length=CONTEXT,
    )
    fast.chat_template = chat_template
    return fast


def tiny_llama(
    directory: Path,
    *,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    chat_template: str | None = CHAT_TEMPLATE,
    context: int = CONTEXT,
) -> Path:
    """A Llama of 2 layers with grouped-query attention; returns `directory`, as all of these do."""
    tokenizer = byte_tokenizer(chat_template=chat_template)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=context,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        # Wide enough that greedy answers differ from prompt to prompt.
        initializer_range=0.3,
    )
    torch.manual_seed(seed)
    return _save(LlamaForCausalLM(config).to(dtype), tokenizer, directory)


def tiny_gpt2(directory: Path, *, seed: int = 0) -> Path:
    """A GPT-2 of 2 layers (learned positions, tied embedding, Conv1D) without a chat template."""
    tokenizer = byte_tokenizer(chat_template=None)
    torch.manual_seed(seed)
    return _save(GPT2LMHeadModel(_gpt2_config(tokenizer, 32)), tokenizer, directory)


def reciting_gpt2(directory: Path, text: str, *, after: int) -> Path:
    """A GPT-2 that continues any input of `after` tokens with `text`, byte by byte, then ends.

    Its blocks add nothing, its embedding is the identity, and position p is nine times the token wanted at p + 1.
    Sampling at temperature 1 and above wanders; greedy never does.
    """
    tokenizer = byte_tokenizer(chat_template=None)
    size = len(tokenizer)
    model = GPT2LMHeadModel(_gpt2_config(tokenizer, size, layers=1))
    spoken = tokenizer.encode(text)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "c_proj" in name:
                parameter.zero_()
        model.transformer.wte.weight.copy_(torch.eye(size))
        model.transformer.wpe.weight.zero_()
        for position in range(CONTEXT):
            number = position + 1 - after
            wanted = spoken[number] if 0 <= number < len(spoken) else tokenizer.eos_token_id
            model.transformer.wpe.weight[position, wanted] = 9.0
    return _save(model, tokenizer, directory)


def tiny_sentence_encoder(
    directory: Path, *, seed: int = 0, pooling: str = "mean", normalise: bool = True, longest: int = 64
) -> Path:
    """A BERT of 2 layers with the files of a sentence-transformers model; `pooling` is mean or cls."""
    tokenizer = byte_tokenizer(chat_template=None, sentence=True)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=128,
        pad_token_id=tokenizer.pad_token_id,
        initializer_range=0.3,
    )
    torch.manual_seed(seed)
    _save(BertModel(config), tokenizer, directory)
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    ]
    if normalise:
        modules.append({"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"})
    _write_json(directory / "modules.json", modules)
    _write_json(directory / "sentence_bert_config.json", {"max_seq_length": longest, "do_lower_case": False})
    (directory / "1_Pooling").mkdir()
    how = {
        "word_embedding_dimension": config.hidden_size,
        "pooling_mode_cls_token": pooling == "cls",
        "pooling_mode_mean_tokens": pooling == "mean",
    }
    _write_json(directory / "1_Pooling" / "config.json", how)
    return directory


def _gpt2_config(tokenizer: PreTrainedTokenizerFast, width: int, *, layers: int = 2) -> GPT2Config:
    return GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=CONTEXT,
        n_embd=width,
        n_layer=layers,
        n_head=2,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        initializer_range=0.3,
    )


def _save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, directory: Path) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    model.eval().save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=2))
