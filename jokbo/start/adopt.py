"""Check a model that exists already, and save it as every model here is saved: safetensors, tokenizer, card.

Nothing of the model is run but networks that transformers has: code of the model's own (`auto_map`) is refused, and so
are pickled weights.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from jokbo.data.counts import KNOWN, StartingModel
from jokbo.models import access
from jokbo.runtime.errors import InputError, about
from jokbo.runtime.files import atomic_write_folder
from jokbo.start import folder, hub, package

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from jokbo.params import FromFolder, FromHub, FromPackage

    Adopted = FromFolder | FromHub | FromPackage

PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
END_OF_TEXT = "<|endoftext|>"  # of a tokenizer that has none


class Kind(Protocol):
    """Yields the file or the folder of a model, which it keeps in `downloads` where that saves a second fetch.

    key: of the parameters that name the model.
    """

    def __call__(self, start: Any, downloads: Path, key: str) -> AbstractContextManager[Path]: ...


KINDS: Mapping[str, Kind] = {"package": package.files, "hub": hub.files, "folder": folder.files}


def adopt(start: Adopted, downloads: Path, path: Path) -> StartingModel:
    """Save the model at `path`, and return what is known of it. InputError as `opened` raises it."""
    network, tokenizer, known = opened(start, downloads, "pretrain.start")
    with atomic_write_folder(path) as whole:
        network.save_pretrained(whole)
        tokenizer.save_pretrained(whole)
        known.save(whole / KNOWN)
    return known


def opened(
    start: Adopted, downloads: Path, key: str
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, StartingModel]:
    """Return the network, the tokenizer and what is known of the model that the parameters at `key` name.

    Raises InputError, one line, for a model that cannot be had, that is not whole or that is not safe.
    """
    downloads.mkdir(parents=True, exist_ok=True)
    where = about(f"{key}: {source(start)}")
    with KINDS[start.kind](start, downloads, key) as found, where, _in_one_line():
        given = {"gguf_file": found.name} if found.is_file() else {}
        there = found.parent if given else found
        _check(found)
        tokenizer = AutoTokenizer.from_pretrained(there, trust_remote_code=False, **given)
        network = _of_gguf(there, found.name) if given else _of_folder(there)
        return network, tokenizer, _fitted(network, tokenizer, start)


def check_folder(start: FromFolder, key: str) -> None:
    """Raise InputError, one line, for a model below data/local that cannot be opened, as far as its files tell."""
    with folder.files(start, Path(), key) as found, about(f"{key}: {source(start)}"), _in_one_line():
        _check(found)


def _check(found: Path) -> None:
    if found.is_dir():
        check_files(found)
    elif found.suffix != ".gguf":
        raise InputError(f"{found.name} is a file: name one that ends in .gguf, or a folder")


def source(start: Adopted) -> str:
    """Return where a model is from, with what pins it."""
    if start.kind == "package":
        return f"{start.requirement}/{start.member}"
    return f"{start.model}@{start.revision}" if start.kind == "hub" else f"data/local/{start.path}"


@contextmanager
def _in_one_line() -> Iterator[None]:
    """Make an InputError of whatever transformers raises within the block: it has errors of every kind."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        raise InputError(" ".join((str(error).strip() or type(error).__name__).split())[:300]) from error


def check_files(there: Path) -> None:
    """Raise InputError if the folder's files are no model that can be opened without running code of its own."""
    if not (there / "config.json").is_file():
        raise InputError("there is no config.json: name the folder of a model of transformers")
    config = json.loads((there / "config.json").read_text("utf-8"))
    if "auto_map" in config:
        raise InputError("its config.json has auto_map: it asks for code of its own, which is never run")
    if not any(there.glob("*.safetensors")):
        pickles = sorted(file.name for pattern in PICKLED for file in there.glob(pattern))
        if pickles:
            advice = "opening it may run code; save it anew with safetensors"
            raise InputError(f"its weights are pickled ({pickles[0]}): {advice}")
        raise InputError("it has no weights: there is no *.safetensors")
    if not any((there / name).is_file() for name in ("tokenizer.json", "tokenizer.model", "vocab.json")):
        raise InputError("it has no tokenizer: put its tokenizer.json there")
    network = (
        config.get("architectures") or [MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.get(config.get("model_type"))]
    )[0]
    if network not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values():
        raise InputError(
            f"its network is {network}: it must be one that predicts the next token (ForCausalLM)"
        )


def _of_folder(there: Path) -> PreTrainedModel:
    """Return the network in a folder. InputError if weights are missing."""
    config = AutoConfig.from_pretrained(there, trust_remote_code=False)
    if getattr(config, "quantization_config", None) is not None:
        raise InputError("its weights are quantised: give those that they were made from")
    opened: Any = AutoModelForCausalLM.from_pretrained(
        there, config=config, dtype=torch.float32, use_safetensors=True, output_loading_info=True
    )
    network, told = opened
    if missing := sorted(told["missing_keys"]):
        raise InputError(f"its weights lack {missing[0]} and {len(missing) - 1} more: give a whole model")
    return network


def _of_gguf(there: Path, name: str) -> PreTrainedModel:
    """Return the network in a GGUF file, its weights in fp32."""
    read = AutoModelForCausalLM.from_pretrained(there, gguf_file=name, dtype=torch.float32)
    config = type(read.config).from_dict(
        {key: value for key, value in read.config.to_dict().items() if key != "quantization_config"}
    )
    network = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    network.load_state_dict(read.state_dict())  # the one that was read counts as quantised, and is not saved
    return network


def _fitted(network: PreTrainedModel, tokenizer: Any, start: Adopted) -> StartingModel:
    """Return what is known of the model, once it has all that stages read off it. InputError if it cannot serve."""
    rows, context = len(access.embeddings(network)), network.config.max_position_embeddings
    if not tokenizer.is_fast:
        raise InputError("its tokenizer has no tokenizer.json and cannot be made one")
    if len(tokenizer) > rows:
        raise InputError(f"its tokenizer has {len(tokenizer):,} tokens, and its embedding {rows:,} rows")
    if start.context > context:
        raise InputError(f"context is {start.context}, and it reads {context} tokens at once: set it lower")
    changed = [*_end_of_text(network, tokenizer), *_padding(tokenizer)]
    for config in filter(None, (network.config, network.generation_config)):
        config.eos_token_id, config.pad_token_id = tokenizer.eos_token_id, tokenizer.pad_token_id
    access.keep_to(network, start.context)
    return StartingModel(
        kind=start.kind,
        source=source(start),
        licence=start.licence,
        network=type(network).__name__,
        parameters=network.num_parameters(),
        layers=network.config.num_hidden_layers,
        context=context,
        vocabulary=len(tokenizer),
        changed=changed,
    )


def _end_of_text(network: PreTrainedModel, tokenizer: Any) -> list[str]:
    """Give the tokenizer an end of text if it has none; return what was done."""
    if tokenizer.eos_token_id is not None:
        return []
    tokenizer.add_special_tokens({"eos_token": END_OF_TEXT})
    if len(tokenizer) > len(access.embeddings(network)):
        network.resize_token_embeddings(len(tokenizer))
    return [f"it had no end of text: it has {END_OF_TEXT} now, a token that it was not trained on"]


def _padding(tokenizer: Any) -> list[str]:
    """Give the tokenizer a padding that is no end of text where it has a token to spare; return what was done."""
    if tokenizer.pad_token_id not in (None, tokenizer.eos_token_id):
        return []
    had = "no padding" if tokenizer.pad_token_id is None else "its end of text as padding"
    spare = tokenizer.unk_token_id not in (None, tokenizer.eos_token_id)
    tokenizer.pad_token = tokenizer.unk_token if spare else tokenizer.eos_token
    if spare:
        return [f"it had {had}: padding is its unknown token now, {tokenizer.pad_token}"]
    return [f"it had {had}: padding is its end of text, {tokenizer.pad_token}"]
