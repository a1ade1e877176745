"""The model that is exported, opened whole, so that what is wrong with it is said before a file is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging

from jokbo.models import access
from jokbo.runtime import ancestry, files
from jokbo.runtime.errors import InputError

WRITES = ("ForCausalLM", "LMHeadModel")  # how the classes of networks that write end
KINDS: Mapping[str, Any] = {
    **dict.fromkeys(WRITES, AutoModelForCausalLM),
    "ForSequenceClassification": AutoModelForSequenceClassification,
    "ForTokenClassification": AutoModelForTokenClassification,
}


@dataclass(frozen=True)
class Opened:
    """A model's folder, and what is in it."""

    folder: Path
    network: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase

    @property
    def kind(self) -> str:
        """The name of the network's class, such as LlamaForCausalLM."""
        return type(self.network).__name__

    @property
    def writes(self) -> bool:
        """Whether it is a language model. Others have a head that classifies or scores."""
        return self.kind.endswith(WRITES)


def writing(model: Path) -> Opened:
    """Return the language model in a folder, as `opened` does. InputError also if it writes no texts, which its
    config.json says before it is read, or if it has other weights than its ancestry says."""
    (name, *_) = _checked(model).get("architectures") or [""]
    if name and not name.endswith(WRITES):
        raise InputError(
            f"{model}: it scores texts and writes none ({name}): name one that writes, such as models/aligned"
        )
    if ancestry.has_record(model):
        ancestry.Record.load(model)
    return opened(model)


def opened(model: Path) -> Opened:
    """Return the model in a folder. InputError if it is none, or has no tokenizer, or cannot be opened.

    Code that comes with a model is never run, and weights are read from safetensors alone.
    """
    config = _checked(model)
    (name, *_) = config.get("architectures") or ["a network without `architectures`"]
    kind = next((kind for ending, kind in KINDS.items() if name.endswith(ending)), None)
    if kind is None:
        raise InputError(f"{model}/config.json: {name}: only models that write, classify or score are opened")
    logging.disable_progress_bar()
    only = {"local_files_only": True, "trust_remote_code": False}
    try:
        tokenizer = AutoTokenizer.from_pretrained(model, **only)
        network, found = kind.from_pretrained(model, output_loading_info=True, use_safetensors=True, **only)
    except Exception as error:  # whatever transformers, tokenizers and safetensors make of a broken file
        why = str(error).strip().partition("\n")[0] or type(error).__name__
        raise InputError(f"{model}: no model that can be opened ({why[:200]}): make it again") from error
    if found["missing_keys"]:
        raise InputError(
            f"{model}: not a whole {name}: it has no {min(found['missing_keys'])}: make it again"
        )
    last, rows = max(tokenizer.get_vocab().values()), len(access.embeddings(network))
    if last >= rows:
        raise InputError(
            f"{model}: its tokenizer has a token {last}, and its network the tokens 0 to {rows - 1}: "
            "they are not of one model: name another"
        )
    return Opened(model, network.eval(), tokenizer)


def _checked(model: Path) -> dict[str, Any]:
    """Return a model's configuration, after a look at which files are there."""
    if not (model / "config.json").is_file():
        raise InputError(f"{model}: no config.json there: name the folder of a model, such as models/aligned")
    if not (model / "tokenizer.json").is_file():
        raise InputError(f"{model}: no tokenizer.json there: save the model's tokenizer with it")
    if not any(model.glob("*.safetensors")):
        raise InputError(
            f"{model}: no *.safetensors there: weights of other kinds are not read: save it again"
        )
    config = files.read_json(model / "config.json", "make the model again")
    settings = files.read_if_there(model / "tokenizer_config.json") or {}
    for name, found in (("config.json", config), ("tokenizer_config.json", settings)):
        if not isinstance(found, dict):
            raise InputError(f"{model}/{name}: not the settings of a model: make the model again")
        if "auto_map" in found:
            raise InputError(
                f"{model}/{name}: `auto_map` asks for code of the model's own, which is never run"
            )
    return config
