"""A small model of somebody else's, as transformers saves it, for tests of pretrain.start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoConfig, PreTrainedTokenizerFast

from jokbo.models import causal

TEXTS = ["The film was wonderful and the score seemed warm to me.", "The plot was dull in 1950, they say."]


def tokenizer(*special: str, **roles: str) -> PreTrainedTokenizerFast:
    """Return a byte-level tokenizer with these special tokens."""
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=list(special), initial_alphabet=alphabet, show_progress=False
    )
    raw.train_from_iterator(TEXTS * 20, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=raw, clean_up_tokenization_spaces=False, **roles)


def save(folder: Path, reads: PreTrainedTokenizerFast | None = None, **sizes: Any) -> Path:
    """Save a small Llama with its tokenizer, whose end of text is </s> and which has <unk>, in the folder."""
    reads = reads or tokenizer("<unk>", "<s>", "</s>", unk_token="<unk>", bos_token="<s>", eos_token="</s>")
    config = AutoConfig.for_model(
        "llama",
        **{
            "num_hidden_layers": 2,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "max_position_embeddings": 96,
            "vocab_size": len(reads),
            "tie_word_embeddings": True,
            "bos_token_id": reads.bos_token_id,
            "eos_token_id": reads.eos_token_id,
            "pad_token_id": reads.pad_token_id,
            **sizes,
        },
    )
    causal.build(config, seed=3).save_pretrained(folder)
    reads.save_pretrained(folder)
    return folder
