"""The Transformer (Vaswani et al. 2017, "Attention Is All You Need"), and where its layer norms go (Xiong et al. 2020).

New in the first paper: an encoder-decoder of attention alone. Scaled dot-product attention in several heads
(section 3.2, equation 1), a decoder that reads the encoder's states and its own past, sinusoids for positions
(3.5), one matrix for both embeddings, scaled by sqrt(d_model), and for the logits (3.4), residual dropout and label
smoothing of 0.1 (5.4), a learning rate that warms up and falls with the root of the step (5.3, equation 3: `noam`).
New in the second ("On Layer Normalization in the Transformer Architecture"): with the norm after each residual sum,
as above, gradients at initialisation are large near the output whatever the depth L, which is why warm-up is needed;
with the norm before each sublayer and one more at the end they are even over depth and fall with 1/sqrt(L) (theorem
1, figure 3: `gradient_norms`). Here that is Size.more["norm"], "post" (the default) or "pre".

The network is written by hand: the only one of transformers that is the same, Marian's, has no pre-norm. There is no
large parallel corpus for the comparison, so it is trained on text to text: the second half of a block from the first
half. The papers have no classifier: here one reads the mean of the encoder's states.

Shapes: B sequences of a batch, S tokens of the source, T tokens of the target, C positions of the context, V
vocabulary, D numbers of a state, H heads, E numbers of a head's state.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from jokbo.systems.common import Paper, Size, SpecialTokens, Text, mean_state, sinusoids

TITLE, YEAR, OBJECTIVE = "Transformer", 2017, "the second half of a text from the first"
NATS = "nll"
SMOOTHING = 0.1

# Table 3 of Vaswani et al.; the vocabulary is "about 37000" (section 5.1), hence the tolerance. The middle of a
# feed-forward layer has four times the hidden size, as in both.
PAPER_SIZES = {
    "base": Paper(
        Size(37000, layers=6, hidden_size=512, heads=8, context=512, dropout=0.1), 65e6, tolerance=0.035
    ),
    "big": Paper(Size(37000, layers=6, hidden_size=1024, heads=16, context=512, dropout=0.3), 213e6),
}


class Attention(nn.Module):
    """Scaled dot-product attention in several heads (section 3.2)."""

    def __init__(self, hidden_size: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (nn.Linear(hidden_size, hidden_size) for _ in range(4))

    def forward(
        self, states_BTD: Tensor, memory_BSD: Tensor, *, causal: bool = False, real_BS: Tensor | None = None
    ) -> Tensor:
        """Return what each state takes from the memory, [B, T, D].

        `real_BS` is false where the memory is padding. If `causal`, a state takes nothing from those after it.
        """
        query_BHTE, key_BHSE, value_BHSE = (
            layer(inputs).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for layer, inputs in zip(
                (self.query, self.key, self.value), (states_BTD, memory_BSD, memory_BSD), strict=True
            )
        )
        mask = None if real_BS is None else real_BS[:, None, None]
        mixed_BHTE = nn.functional.scaled_dot_product_attention(
            query_BHTE, key_BHSE, value_BHSE, attn_mask=mask, is_causal=causal
        )
        return self.out(mixed_BHTE.transpose(1, 2).flatten(2))


class Layer(nn.Module):
    """A layer of the encoder or, given the encoder's states, of the decoder."""

    def __init__(self, size: Size, *, decodes: bool) -> None:
        super().__init__()
        self.before = size.more.get("norm", "post") == "pre"
        self.attention = Attention(size.hidden_size, size.heads)
        self.cross = Attention(size.hidden_size, size.heads) if decodes else None
        self.feed = nn.Sequential(
            nn.Linear(size.hidden_size, 4 * size.hidden_size),
            nn.ReLU(),
            nn.Linear(4 * size.hidden_size, size.hidden_size),
        )
        self.norms = nn.ModuleList(nn.LayerNorm(size.hidden_size) for _ in range(3 if decodes else 2))
        self.dropout = nn.Dropout(size.dropout)

    def add(self, norm: nn.Module, sublayer: Callable[[Tensor], Tensor], states_BTD: Tensor) -> Tensor:
        """Return the states plus the sublayer's output, with the norm before or after."""
        if self.before:
            return states_BTD + self.dropout(sublayer(norm(states_BTD)))
        return norm(states_BTD + self.dropout(sublayer(states_BTD)))

    def forward(self, states_BTD: Tensor, memory_BSD: Tensor | None, real_BS: Tensor | None) -> Tensor:
        """Return the states after the layer, [B, T, D]; `real_BS` is false at padding of the source."""

        def own(inputs_BTD: Tensor) -> Tensor:
            decodes = memory_BSD is not None
            return self.attention(
                inputs_BTD, inputs_BTD, causal=decodes, real_BS=None if decodes else real_BS
            )

        states_BTD = self.add(self.norms[0], own, states_BTD)
        if memory_BSD is not None:
            cross = self.cross
            assert cross is not None
            states_BTD = self.add(
                self.norms[1],
                lambda inputs_BTD: cross(inputs_BTD, memory_BSD, real_BS=real_BS),
                states_BTD,
            )
        return self.add(self.norms[-1], self.feed, states_BTD)


class Stack(nn.Module):
    """The layers of the encoder or of the decoder."""

    def __init__(self, size: Size, *, decodes: bool) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(size, decodes=decodes) for _ in range(size.layers))
        pre = size.more.get("norm", "post") == "pre"  # then nothing has normed the sum of all layers
        self.norm = nn.LayerNorm(size.hidden_size) if pre else nn.Identity()

    def forward(
        self, states_BTD: Tensor, memory_BSD: Tensor | None = None, real_BS: Tensor | None = None
    ) -> Tensor:
        """Return the states after all layers, [B, T, D]."""
        for layer in self.layers:
            states_BTD = layer(states_BTD, memory_BSD, real_BS)
        return self.norm(states_BTD)


class Transformer(nn.Module):
    """The encoder-decoder."""

    positions_CD: Tensor

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.size = size
        self.embedding = nn.Embedding(size.vocabulary, size.hidden_size)
        self.encoder, self.decoder = Stack(size, decodes=False), Stack(size, decodes=True)
        self.dropout = nn.Dropout(size.dropout)
        self.register_buffer("positions_CD", sinusoids(size.context, size.hidden_size), persistent=False)
        self.initialise()

    def initialise(self) -> None:
        """Set matrices to Xavier's, as Xiong et al. assume, and embeddings to a variance of 1 / D.

        Multiplied with sqrt(D) embeddings then have variance 1.
        """
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        nn.init.normal_(self.embedding.weight, std=self.embedding.embedding_dim**-0.5)

    def embed(self, tokens_BT: Tensor, positions_BT: Tensor | None = None) -> Tensor:
        """Return the embeddings of tokens with their positions, 0, 1, 2 ... or those given, [B, T, D]."""
        positions = slice(tokens_BT.shape[1]) if positions_BT is None else positions_BT
        scale = self.embedding.embedding_dim**0.5
        return self.dropout(self.embedding(tokens_BT) * scale + self.positions_CD[positions])

    def encode(self, source_BS: Tensor, real_BS: Tensor | None = None) -> Tensor:
        """Return the encoder's states, [B, S, D]; `real_BS` is false at padding."""
        return self.encoder(self.embed(source_BS), real_BS=real_BS)

    def forward(
        self,
        source_BS: Tensor,
        inputs_BT: Tensor,
        real_BS: Tensor | None = None,
        positions_BT: Tensor | None = None,
    ) -> Tensor:
        """Return the logits of the token after each of the target's inputs, [B, T, V].

        `real_BS` is false at padding of the source. `positions_BT` are the positions of the inputs, if not 0, 1, 2 ...
        """
        memory_BSD = self.encode(source_BS, real_BS)
        states_BTD = self.decoder(self.embed(inputs_BT, positions_BT), memory_BSD, real_BS)
        return nn.functional.linear(states_BTD, self.embedding.weight)


def network(size: Size, special_tokens: SpecialTokens, seed: int) -> Transformer:
    """Return the network with fresh weights, a function of the arguments alone."""
    torch.manual_seed(seed)
    return Transformer(size)


def shifted(tokens_BT: Tensor, start: int) -> Tensor:
    """Return a decoder's inputs for these targets: `start`, then each token one position later."""
    return nn.functional.pad(tokens_BT[:, :-1], (1, 0), value=start)


class Objective(nn.Module):
    """The mean cross-entropy with smoothed labels; the metric `nll` is that without smoothing."""

    def __init__(self, network: Transformer, special_tokens: SpecialTokens) -> None:
        super().__init__()
        self.network, self.special_tokens = network, special_tokens

    def forward(self, source_BS: Tensor, target_BT: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of the batch and the metric `nll`, both in nats a token."""
        logits_BTV = self.network(source_BS, shifted(target_BT, self.special_tokens.end_of_text))
        log_probs_BTV = logits_BTV.float().log_softmax(dim=2)
        nll = -log_probs_BTV.gather(2, target_BT[:, :, None]).mean()
        loss = (1 - SMOOTHING) * nll - SMOOTHING * log_probs_BTV.mean()
        return loss, {"nll": nll.detach()}


def batch(text: Text, step: int, batch_size: int, context: int, seed: int) -> dict[str, Tensor]:
    """Return the two halves of blocks of running text."""
    source_BS, target_BT = text.blocks(step, batch_size, context, seed).tensor_split(2, dim=1)
    return {"source_BS": source_BS, "target_BT": target_BT}


def features(network: Transformer, tokens_BT: Tensor, special_tokens: SpecialTokens) -> Tensor:
    """Return the mean of the encoder's states of each text, [B, D]."""
    tokens_BT = tokens_BT[:, : len(network.positions_CD)]
    real_BT = tokens_BT != special_tokens.padding
    return mean_state(network.encode(tokens_BT, real_BT), real_BT)


def noam(step: int, hidden_size: int, warmup: int = 4000) -> float:
    """Return the learning rate of a step; the first step is 1 (section 5.3, equation 3)."""
    return hidden_size**-0.5 * min(step**-0.5, step * warmup**-1.5)


def last_matrix(layer: nn.Module) -> Tensor:
    """Return the second matrix of the layer's feed-forward layer."""
    assert isinstance(layer, Layer)
    linear = layer.feed[2]
    assert isinstance(linear, nn.Linear)
    return linear.weight


def gradient_norms(objective: Objective, batch: dict[str, Tensor]) -> dict[str, list[float]]:
    """Return, of "encoder" and "decoder", the gradient's norm of each layer in order.

    It is the Frobenius norm for the feed-forward layer's second matrix (Xiong et al. 2020, figure 3).
    """
    stacks = {"encoder": objective.network.encoder, "decoder": objective.network.decoder}
    matrices = {name: [last_matrix(layer) for layer in stack.layers] for name, stack in stacks.items()}
    loss, _ = objective(**batch)
    return {
        name: [float(gradient.norm()) for gradient in torch.autograd.grad(loss, weights, retain_graph=True)]
        for name, weights in matrices.items()
    }
