"""A language model of whole words, for tests in which what it says is known beforehand."""

from __future__ import annotations

from collections.abc import Sequence

from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoConfig, PreTrainedConfig, PreTrainedTokenizerFast

END, PADDING, UNKNOWN = range(3)
SPECIAL = ["</s>", "<pad>", "<unk>"]  # the first words of every vocabulary


def tokenizer(words: Sequence[str]) -> PreTrainedTokenizerFast:
    """Return a tokenizer of whole words: what it does not know is <unk>."""
    made = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=made, eos_token="</s>", pad_token="<pad>", unk_token="<unk>"
    )


def configuration(words: Sequence[str], context: int) -> PreTrainedConfig:
    """Return that of the smallest Llama, for networks whose `forward` is the test's own."""
    return AutoConfig.for_model(
        "llama",
        num_hidden_layers=1,
        hidden_size=4,
        intermediate_size=4,
        num_attention_heads=1,
        vocab_size=len(words),
        max_position_embeddings=context,
        eos_token_id=END,
        pad_token_id=PADDING,
    )
