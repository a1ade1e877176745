"""RNNsearch: a recurrent encoder-decoder that learns where to look (Bahdanau, Cho and Bengio 2014).

New in the paper: the decoder no longer sees one vector for the whole source sentence. For each word that it writes,
a small network, trained with all the rest, scores every source position against the state of the decoder, and the
context is the mean of the annotations under the softmax of the scores (section 3.1, equations 5 and 6): the first soft
attention. An annotation is the state of a GRU forward and of another backward over the source (3.2). The output goes
through one hidden layer of maxout (appendix A.2.2). The scores, as a matrix, show which words were aligned (figure 3).

Here there are no pairs of sentences: the network is trained to write the second half of a block of running text from
the first, given the true words before each (teacher forcing). Two tables of embeddings are kept, as for two languages.
Other departures: GRUs are torch's, whose reset gate acts after the recurrent matrix, not before (equal in size and, by
Chung et al. 2014, in merit); weights start as torch's do; the decoder starts from the end-of-text token; the paper has
no dropout, here `size.dropout` acts on the embeddings and the maxout layer.

Size: `hidden_size` is the GRUs' n = n', the maxout layer has half as many outputs, `more` holds `embedding`. There is
one layer and no head.

Shapes: B sequences of a batch, S tokens of the source, T tokens of the target, V vocabulary, E numbers of an embedding,
D numbers of a GRU's state, H = 2 D numbers of an annotation.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from jokbo.models.heads import Head
from jokbo.systems.common import Paper, Size, SpecialTokens, Text, exact, in_reverse, mean_state, not_compiled

TITLE, YEAR, OBJECTIVE = "RNNsearch", 2014, "second half of a block from the first, by soft attention"
NATS = "loss"

# The paper prints no count. Its appendix A.2.3 gives all sizes: embeddings 2 * 30000 * 620, encoder 2 * 3 * 1000 *
# (620 + 1000), decoder 3 * 1000 * (620 + 1000 + 2000), start 1000 * 1000, alignment 1000 * (1000 + 2000) + 1000,
# maxout 1000 * (1000 + 620 + 2000), words 500 * 30000: 80.4M, to which biases add 0.05M.
PAPER_SIZES = {
    "RNNsearch": Paper(
        Size(30000, 1, 1000, 1, 50, more={"embedding": 620}), 80.4e6, "all but biases, from its sizes", 0.001
    )
}


class RNNsearch(nn.Module):
    """The encoder-decoder, with attention over the source."""

    def __init__(self, size: Size, special_tokens: SpecialTokens) -> None:
        super().__init__()
        self.size = size
        hidden_size, embedding = size.hidden_size, size.more["embedding"]
        self.begin = special_tokens.end_of_text
        self.source = nn.Embedding(size.vocabulary, embedding)
        self.target = nn.Embedding(size.vocabulary, embedding)
        self.ahead, self.back = (nn.GRU(embedding, hidden_size, batch_first=True) for _ in range(2))
        self.start = nn.Linear(hidden_size, hidden_size)
        self.query = nn.Linear(hidden_size, hidden_size, bias=False)
        self.key = nn.Linear(2 * hidden_size, hidden_size, bias=False)
        self.score = nn.Linear(hidden_size, 1, bias=False)
        self.decoder = nn.GRUCell(embedding + 2 * hidden_size, hidden_size)
        self.hidden = nn.Linear(hidden_size + embedding + 2 * hidden_size, hidden_size)
        self.words = Head(hidden_size // 2, size.vocabulary)
        self.dropout = nn.Dropout(size.dropout)

    def annotations(self, source_BS: Tensor, lengths_B: Tensor | None = None) -> Tensor:
        """Return the annotation of each source position, [B, S, H]: the forward GRU's state and the backward one's.

        Where sequences are padded, `lengths_B` says how many tokens are real: the backward GRU begins at the last of
        them.
        """
        if lengths_B is None:
            lengths_B = torch.full_like(source_BS[:, 0], source_BS.shape[1])
        embedded_BSE = self.dropout(self.source(source_BS))
        with exact(embedded_BSE):
            ahead_BSD = self.ahead(embedded_BSE)[0]
            back_BSD = self.back(in_reverse(embedded_BSE, lengths_B))[0]
        return torch.cat([ahead_BSD, in_reverse(back_BSD, lengths_B)], dim=-1)

    @not_compiled
    def decode(self, annotations_BSH: Tensor, given_BTE: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return, before each word, the decoder's state [B, T, D], context [B, T, H] and weights [B, T, S]."""
        keys_BSD = self.key(annotations_BSH)
        state_BD = torch.tanh(self.start(annotations_BSH[:, 0].chunk(2, dim=-1)[1]))
        found = []
        for given_BE in given_BTE.unbind(1):
            energies_BSD = torch.tanh(self.query(state_BD)[:, None] + keys_BSD)
            weights_BS = self.score(energies_BSD).squeeze(-1).softmax(dim=-1)
            context_BH = (weights_BS[:, None] @ annotations_BSH).squeeze(1)
            found.append((state_BD, context_BH, weights_BS))
            state_BD = self.decoder(torch.cat([given_BE, context_BH], dim=-1), state_BD)
        states_BTD, contexts_BTH, weights_BTS = (
            torch.stack(each, dim=1) for each in zip(*found, strict=True)
        )
        return states_BTD, contexts_BTH, weights_BTS

    def forward(self, source_BS: Tensor, target_BT: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits [B, T, V] of each target word and alignments [B, T, S].

        A word's logits are given the source and the words before it.
        """
        before_BT = torch.cat([torch.full_like(target_BT[:, :1], self.begin), target_BT[:, :-1]], dim=1)
        given_BTE = self.dropout(self.target(before_BT))
        with exact(given_BTE):
            states_BTD, contexts_BTH, weights_BTS = self.decode(self.annotations(source_BS), given_BTE)
        hidden_BTD = self.hidden(torch.cat([states_BTD, given_BTE, contexts_BTH], dim=-1))
        maxout_BTD = hidden_BTD.unflatten(-1, (-1, 2)).amax(dim=-1)
        return self.words(self.dropout(maxout_BTD)), weights_BTS


def network(size: Size, special_tokens: SpecialTokens, seed: int) -> RNNsearch:
    """Return the network with fresh weights, a function of the arguments alone."""
    torch.manual_seed(seed)
    return RNNsearch(size, special_tokens)


class Objective(nn.Module):
    """The mean cross-entropy of the target's words."""

    def __init__(self, network: RNNsearch, special_tokens: SpecialTokens) -> None:
        super().__init__()
        self.network = network

    def forward(self, source_BS: Tensor, target_BT: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of the batch in nats a token, and no metrics."""
        logits_BTV, _ = self.network(source_BS, target_BT)
        return nn.functional.cross_entropy(logits_BTV.float().flatten(0, 1), target_BT.flatten()), {}


def batch(text: Text, step: int, batch_size: int, context: int, seed: int) -> dict[str, Tensor]:
    """Return the two halves of blocks of running text."""
    blocks_BT = text.blocks(step, batch_size, context, seed)
    return {"source_BS": blocks_BT[:, : context // 2], "target_BT": blocks_BT[:, context // 2 :]}


def alignment(network: RNNsearch, source_S: Tensor, target_T: Tensor) -> Tensor:
    """Return how much each target word looked at each source word, [T, S] (figure 3).

    Each of the T rows has the sum 1.
    """
    return network(source_S[None], target_T[None])[1][0]


def features(network: RNNsearch, tokens_BT: Tensor, special_tokens: SpecialTokens) -> Tensor:
    """Return the mean annotation of each text, [B, H]."""
    real_BT = tokens_BT != special_tokens.padding
    return mean_state(network.annotations(tokens_BT, real_BT.sum(dim=1)), real_BT)
