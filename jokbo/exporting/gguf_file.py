"""A language model as one GGUF file, for llama.cpp: its weights, its configuration and its tokenizer.

The names of keys and tensors are those of the package `gguf`, which llama.cpp publishes. What llama.cpp would read
another way than transformers is refused, so that the file writes what the model writes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from gguf import MODEL_ARCH, GGMLQuantizationType, GGUFWriter, LlamaFileType, TokenType, quants
from transformers import PreTrainedModel

from jokbo.exporting.opening import Opened
from jokbo.models import access
from jokbo.runtime.errors import InputError, about

PRECISIONS = {
    "fp32": (GGMLQuantizationType.F32, LlamaFileType.ALL_F32),
    "bf16": (GGMLQuantizationType.BF16, LlamaFileType.MOSTLY_BF16),
    "q8_0": (GGMLQuantizationType.Q8_0, LlamaFileType.MOSTLY_Q8_0),
}
ARCHITECTURES = {"LlamaForCausalLM": MODEL_ARCH.LLAMA, "GPT2LMHeadModel": MODEL_ARCH.GPT2}
TANH_GELU = ("gelu_new", "gelu_pytorch_tanh")  # llama.cpp's GELU is GPT's approximation
# How texts are split before merges, and llama.cpp's name of it: GPT-2's words, with SmolLM's single digits before them
WORDS = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}
DIGITS = {"type": "Digits", "individual_digits": True}
SPLITS = {"gpt-2": [WORDS], "smollm": [DIGITS, WORDS]}


def write(opened: Opened, file: Path, precision: str, ancestry: str) -> None:
    """Write the model into a file. `ancestry`, a JSON text, goes into it too.

    With q8_0, eight bits a weight and a scale for 32 of them, matrices whose rows are no multiple of 32 stay fp32. So
    do vectors and positions, whatever the precision. Raises InputError for a network or a tokenizer that GGUF or
    llama.cpp has no form for.
    """
    with about(str(opened.folder)):
        architecture = _architecture(opened)
        writer = GGUFWriter(file, gguf.MODEL_ARCH_NAMES[architecture])
        writer.add_type("model")
        writer.add_name(opened.folder.name)
        writer.add_file_type(PRECISIONS[precision][1])
        writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
        writer.add_string("jokbo.ancestry", ancestry)
        _add_configuration(writer, opened.network)
        _add_tokenizer(writer, opened)
        _write_all(writer, list(_weights(opened.network, architecture)), PRECISIONS[precision][0])


def _architecture(opened: Opened) -> MODEL_ARCH:
    if not opened.writes:
        raise InputError(
            f"--to gguf takes models that write, and this has a head ({opened.kind}): --to folder or onnx"
        )
    if opened.kind not in ARCHITECTURES:
        raise InputError(
            f"--to gguf takes {' and '.join(ARCHITECTURES)}, not {opened.kind}: --to folder or onnx"
        )
    config = opened.network.config
    if opened.kind == "LlamaForCausalLM":
        _only("rope_type", config.rope_parameters["rope_type"], "default")
        _only("hidden_act", config.hidden_act, "silu")
    else:
        _only("activation_function", config.activation_function, *TANH_GELU)
        _only("scale_attn_weights", config.scale_attn_weights, True)
        _only("scale_attn_by_inverse_layer_idx", config.scale_attn_by_inverse_layer_idx, False)
    return ARCHITECTURES[opened.kind]


def _only(name: str, found: object, *known: object) -> None:
    if found not in known:
        raise InputError(f"config.json: {name}: {found}: --to gguf takes {' or '.join(map(str, known))}")


def _add_configuration(writer: GGUFWriter, network: PreTrainedModel) -> None:
    config: Any = network.config
    writer.add_vocab_size(len(access.embeddings(network)))
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_head_count(config.num_attention_heads)
    if config.model_type == "gpt2":
        writer.add_feed_forward_length(config.n_inner or 4 * config.hidden_size)
        writer.add_layer_norm_eps(config.layer_norm_epsilon)
        return
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    for add in (writer.add_rope_dimension_count, writer.add_key_length, writer.add_value_length):
        add(config.head_dim)


def _weights(network: PreTrainedModel, architecture: MODEL_ARCH) -> Iterator[tuple[str, np.ndarray]]:
    """Yield GGUF's name of each weight, and the weight as llama.cpp lays it out, fp32."""
    config: Any = network.config
    names = gguf.get_tensor_name_map(architecture, config.num_hidden_layers)
    heads = {"attn_q": config.num_attention_heads, "attn_k": getattr(config, "num_key_value_heads", 0)}
    for name, weight in network.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        if (known := names.get_name(name, (".weight", ".bias"))) is None:
            raise InputError(
                f"{name}: llama.cpp's {config.model_type} has no such weight: --to folder or onnx"
            )
        rows = weight.to(torch.float32).numpy()
        if config.model_type == "gpt2" and ".h." in name and rows.ndim == 2:
            rows = rows.T  # transformers' Conv1D is [inputs, outputs]
        part = known.split(".")[-2]
        yield known, _rotated(rows, heads[part]) if part in heads else rows


def _rotated(rows: np.ndarray, heads: int) -> np.ndarray:
    """Return queries' or keys' weights with the rows in llama.cpp's order.

    Rotary positions turn pairs of numbers of a state: transformers pairs i with i + half, llama.cpp 2i with 2i + 1.
    """
    halves = rows.reshape(heads, 2, -1, *rows.shape[1:])
    return halves.swapaxes(1, 2).reshape(rows.shape)


def _write_all(
    writer: GGUFWriter, weights: list[tuple[str, np.ndarray]], precision: GGMLQuantizationType
) -> None:
    """Write what the writer holds, and the weights one after the other: of none is there a second copy in memory."""
    kinds = [_stored(name, rows, precision) for name, rows in weights]
    for (name, rows), kind in zip(weights, kinds, strict=True):
        shape = quants.quant_shape_to_byte_shape(rows.shape, kind)
        writer.add_tensor_info(name, shape, np.dtype(np.uint8), int(np.prod(shape)), kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for (_, rows), kind in zip(weights, kinds, strict=True):
        writer.write_tensor_data(quants.quantize(np.ascontiguousarray(rows), kind))
    writer.close()


def _stored(name: str, rows: np.ndarray, precision: GGMLQuantizationType) -> GGMLQuantizationType:
    block, _ = gguf.GGML_QUANT_SIZES[precision]
    exact = rows.ndim == 1 or name.startswith("position_embd") or rows.shape[-1] % block
    return GGMLQuantizationType.F32 if exact else precision


def _add_tokenizer(writer: GGUFWriter, opened: Opened) -> None:
    tokenizer: Any = opened.tokenizer
    model, split = _byte_bpe(tokenizer)
    tokens, types = _tokens(tokenizer, len(access.embeddings(opened.network)))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(split)
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges(
        [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
    )
    for name, add in (
        ("bos", writer.add_bos_token_id),
        ("eos", writer.add_eos_token_id),
        ("unk", writer.add_unk_token_id),
        ("pad", writer.add_pad_token_id),
    ):
        if (number := getattr(tokenizer, f"{name}_token_id")) is not None:
            add(number)
    ids, alone = tokenizer("a")["input_ids"], tokenizer("a", add_special_tokens=False)["input_ids"]
    before, after = [tokenizer.bos_token_id], [tokenizer.eos_token_id]
    begins, ends = ids[:1] == before != alone[:1], ids[-1:] == after != alone[-1:]
    if ids != before * begins + alone + after * ends:
        raise InputError("tokenizer.json: it adds tokens that GGUF has no word for: --to folder or onnx")
    writer.add_add_bos_token(begins)
    writer.add_add_eos_token(ends)
    writer.add_add_space_prefix(False)
    if isinstance(tokenizer.chat_template, str):
        writer.add_chat_template(tokenizer.chat_template)


def _byte_bpe(tokenizer: Any) -> tuple[dict[str, Any], str]:
    """Return the tokenizer's BPE, and llama.cpp's name of how it splits texts. InputError if it is of another kind."""
    tree = json.loads(tokenizer.backend_tokenizer.to_str())
    model, normalizer, split = tree["model"], tree["normalizer"], tree["pre_tokenizer"] or {}
    if normalizer and normalizer.get("normalizers") != []:
        raise InputError("tokenizer.json: it normalises texts, which llama.cpp does not: --to folder or onnx")
    steps = split.get("pretokenizers", [split])
    name = next((name for name, known in SPLITS.items() if _are(steps, known)), None)
    odd = [
        key for key in ("byte_fallback", "ignore_merges", "dropout", "end_of_word_suffix") if model.get(key)
    ]
    if model["type"] != "BPE" or name is None or odd:
        raise InputError(
            f"tokenizer.json: --to gguf takes byte-level BPE that splits texts as GPT-2 or SmolLM does, not this "
            f"{model['type']}: --to folder or onnx"
        )
    return model, name


def _are(steps: list[dict[str, Any]], known: list[dict[str, Any]]) -> bool:
    pairs = zip(steps, known, strict=False)
    return len(steps) == len(known) and all(one.items() <= step.items() for step, one in pairs)


def _tokens(tokenizer: Any, rows: int) -> tuple[list[str], list[int]]:
    """Return the text and the type of each row of the embedding."""
    tokens = [f"[PAD{number}]" for number in range(rows)]
    types: list[int] = [TokenType.UNUSED] * rows
    for token, number in tokenizer.get_vocab().items():
        tokens[number], types[number] = token, TokenType.NORMAL
    for number, token in tokenizer.added_tokens_decoder.items():
        types[number] = TokenType.CONTROL if token.special else TokenType.USER_DEFINED
    return tokens, types
