"""A network as an ONNX file, for ONNX Runtime, with or without a head, of any batch and length.

Shapes: B texts, S tokens.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.export import Dim
from transformers import PreTrainedModel

from jokbo.exporting.opening import Opened
from jokbo.runtime.errors import InputError


class _Logits(nn.Module):
    """The network as a function of tokens alone: it keeps no state from call to call."""

    def __init__(self, network: PreTrainedModel) -> None:
        super().__init__()
        self.network = network

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self.network(input_ids=input_ids, attention_mask=attention_mask, use_cache=False).logits


def write(opened: Opened, file: Path) -> None:
    """Write the network in fp32: from `input_ids` and `attention_mask`, int64 [B, S], to `logits`.

    Raises InputError if torch's exporter has no form for it.
    """
    tokens_BS = torch.zeros(2, 5, dtype=torch.int64)  # neither of them 1, which would be taken for a constant
    shape = {0: Dim.DYNAMIC, 1: Dim.DYNAMIC}
    try:
        with _silent():
            program = torch.onnx.export(
                _Logits(opened.network.float()),
                (tokens_BS, torch.ones_like(tokens_BS)),
                input_names=["input_ids", "attention_mask"],
                output_names=["logits"],
                dynamic_shapes=(shape, shape),
                dynamo=True,
            )
    except torch.onnx.errors.OnnxExporterError as error:
        why = str(error).strip().partition("\n")[0]
        raise InputError(
            f"{opened.folder}: {opened.kind} is no ONNX to torch ({why[:200]}): --to folder"
        ) from error
    assert program is not None
    program.save(file)


@contextlib.contextmanager
def _silent():
    """Keep the exporter's progress and its warnings, which are about its own inside, off the terminal."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            logging.disable(level)
