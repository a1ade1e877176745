"""ULMFiT: fine-tuning a whole language model for any task (Howard and Ruder 2018), the AWD-LSTM (Merity et al. 2018).

New in the paper: an LSTM language model of general text is trained on, first on the task's text, then on its labels.
How that is done keeps it from forgetting much of what it knew (sections 3.2 and 3.3):
  discriminative rates: each layer has a learning rate 2.6 times lower than the one above it (`parameter_groups`);
  slanted triangular rates: a short, steep rise and a long decay (equation 3, `slanted_triangular`);
  gradual unfreezing: from the last layer on, one layer more each epoch (`gradual`, with the other two);
  concat pooling: the classifier reads the last state and the maximum and mean of all (equation 4); here the mean.

The network is the AWD-LSTM (section 3): three plain LSTM layers, the output tied to the embeddings, and regularised so
much that no more is needed: DropConnect on hidden-to-hidden weights, one mask a forward pass (Merity et al., section
2); dropout by one mask for all time steps (4.2) between layers; dropout of whole words (4.3); and a penalty on large
activations and on their changes (4.6). Left out: averaged SGD (the engine has its own optimizers), sequences of varying
length (4.1: shapes are fixed here) and states carried from one batch to the next (blocks come in random order).

`size.dropout` is that of a layer's output; the other rates keep their ratio to it in section 4.1 of ULMFiT.
Size: `hidden_size` is that of the embeddings and the last layer, `more` holds `hidden`, that of the other layers.

Shapes: B sequences of a batch, T tokens of a sequence, S = T + 1, V vocabulary, D numbers of a state, H numbers of a
layer's state.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from jokbo.systems.common import (
    Paper,
    Size,
    SpecialTokens,
    mean_state,
    next_token_batch,
    next_token_loss,
    not_compiled,
)

TITLE, YEAR, OBJECTIVE = "ULMFiT", 2018, "next token"
NATS = "nats"

# Merity et al. 2018, table 1: 24M on the Penn Treebank's 10,000 words.
PAPER_SIZES = {"AWD-LSTM": Paper(Size(10000, 3, 400, 1, 70, 0.4, more={"hidden": 1150}), 24e6)}

# by section 4.1 of ULMFiT: 0.4 layers, 0.3 within the LSTM, 0.4 input, 0.05 words, 0.5 weights
BETWEEN_LAYERS, INPUT, WORDS, WEIGHTS = 0.3 / 0.4, 0.4 / 0.4, 0.05 / 0.4, 0.5 / 0.4
ACTIVATION_PENALTY, CHANGE_PENALTY = 2.0, 1.0  # alpha and beta, Merity et al. section 5


class WeightDropLSTM(nn.LSTM):
    """An LSTM layer whose hidden-to-hidden weights are dropped anew in each forward pass of training."""

    weight_ih_l0: Tensor
    weight_hh_l0: Tensor
    bias_ih_l0: Tensor
    bias_hh_l0: Tensor

    def __init__(self, input_size: int, hidden_size: int, drop: float) -> None:
        super().__init__(input_size, hidden_size, batch_first=True)
        self.drop = drop

    @not_compiled
    def forward(self, states_BTD: Tensor) -> Tensor:
        """Return the states after each token, [B, T, H]."""
        # straight to the kernel, so that the weights that it holds stay as they are and gradients reach them
        kept = nn.functional.dropout(self.weight_hh_l0, self.drop, self.training)
        weights = [self.weight_ih_l0, kept, self.bias_ih_l0, self.bias_hh_l0]
        zero_1BH = states_BTD.new_zeros(1, len(states_BTD), self.hidden_size)
        return torch.lstm(
            states_BTD, (zero_1BH, zero_1BH), weights, True, 1, 0.0, self.training, False, True
        )[0]


def locked_dropout(x_BTD: Tensor, rate: float, training: bool) -> Tensor:
    """Return x after dropout by one mask for all time steps."""
    return x_BTD * nn.functional.dropout(torch.ones_like(x_BTD[:, :1]), rate, training)


class AWDLSTM(nn.Module):
    """The language model."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.size = size
        self.rate = size.dropout
        self.embedding = nn.Embedding(size.vocabulary, size.hidden_size)
        nn.init.uniform_(self.embedding.weight, -0.1, 0.1)
        sizes = [size.hidden_size, *[size.more["hidden"]] * (size.layers - 1), size.hidden_size]
        self.layers = nn.ModuleList(
            WeightDropLSTM(before, after, WEIGHTS * size.dropout) for before, after in pairwise(sizes)
        )
        self.bias = nn.Parameter(torch.zeros(size.vocabulary))

    def states(self, tokens_BT: Tensor) -> Tensor:
        """Return the last layer's states, [B, T, D], before the dropout of a layer's output."""
        ones_V1 = torch.ones_like(self.embedding.weight[:, :1])
        words_V1 = nn.functional.dropout(ones_V1, WORDS * self.rate, self.training)
        states_BTD = self.embedding(tokens_BT) * words_V1[tokens_BT]
        rates = [INPUT * self.rate, *[BETWEEN_LAYERS * self.rate] * (len(self.layers) - 1)]
        for layer, rate in zip(self.layers, rates, strict=True):
            states_BTD = layer(locked_dropout(states_BTD, rate, self.training))
        return states_BTD

    def forward(self, tokens_BT: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return logits [B, T, V] of the token after each, and the last states before and after dropout."""
        states_BTD = self.states(tokens_BT)
        dropped_BTD = locked_dropout(states_BTD, self.rate, self.training)
        logits_BTV = nn.functional.linear(dropped_BTD, self.embedding.weight, self.bias)
        return logits_BTV, states_BTD, dropped_BTD


def network(size: Size, special_tokens: SpecialTokens, seed: int) -> AWDLSTM:
    """Return the network with fresh weights, a function of the arguments alone."""
    torch.manual_seed(seed)
    return AWDLSTM(size)


class Objective(nn.Module):
    """The mean next-token loss; in training, plus the penalties on activations and on their changes."""

    def __init__(self, network: AWDLSTM, special_tokens: SpecialTokens) -> None:
        super().__init__()
        self.network = network

    def forward(self, tokens_BS: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of the batch, and the metric `nats`, the loss without penalties in nats a token."""
        logits_BTV, states_BTD, dropped_BTD = self.network(tokens_BS[:, :-1])
        nats = next_token_loss(logits_BTV, tokens_BS)
        loss = nats
        if self.training:
            loss = loss + ACTIVATION_PENALTY * dropped_BTD.float().square().mean()
            loss = loss + CHANGE_PENALTY * states_BTD.float().diff(dim=1).square().mean()
        return loss, {"nats": nats.detach()}


batch = next_token_batch


def features(network: AWDLSTM, tokens_BT: Tensor, special_tokens: SpecialTokens) -> Tensor:
    """Return the mean of the states, [B, D]; the paper adds the last one and the maximum (equation 4)."""
    return mean_state(network.states(tokens_BT), tokens_BT != special_tokens.padding)


def parameter_groups(network: AWDLSTM, head: nn.Module, rate: float, factor: float = 2.6) -> list[dict]:
    """Return an optimizer's groups for fine-tuning, from the embeddings up to the classifier.

    The classifier has the whole rate.
    """
    parts = [network.embedding, *network.layers, head]
    return [
        {"params": list(part.parameters()), "lr": rate / factor ** (len(parts) - 1 - index)}
        for index, part in enumerate(parts)
    ]


def slanted_triangular(step: int, steps: int, cut: float = 0.1, ratio: float = 32) -> float:
    """Return the share of the largest learning rate at steps 0 ... `steps` (equation 3).

    It goes from 1 / ratio to 1 at cut * steps, and back.
    """
    top = max(1, int(steps * cut))
    risen = step / top if step < top else 1 - (step - top) / max(1, steps - top)
    return (1 + risen * (ratio - 1)) / ratio


def gradual(
    network: AWDLSTM, head: nn.Module, rate: float, steps: int
) -> tuple[torch.optim.Optimizer, Callable[[torch.optim.Optimizer], LambdaLR]]:
    """Return an optimizer and a schedule that fine-tune as the paper does.

    Each layer has a rate of its own, all follow one slanted triangle, and one layer more learns at a time, from the
    head down; a frozen one has a rate of zero. The paper unfreezes a layer each epoch. Trainings here have few epochs,
    and all layers learn from halfway on.
    """
    groups = parameter_groups(network, head, rate)
    pause = max(1, steps // (2 * len(groups)))

    def share(index: int) -> Callable[[int], float]:
        return lambda step: slanted_triangular(step, steps) * (step // pause >= len(groups) - 1 - index)

    shares = [share(index) for index in range(len(groups))]
    # Adam's betas and no decay: section 4.1
    optimizer = torch.optim.AdamW(groups, betas=(0.7, 0.99), weight_decay=0.0, fused=True)
    return optimizer, lambda made: LambdaLR(made, shares)
