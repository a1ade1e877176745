"""Two networks for sentences from before pretraining. Each makes a vector of a text: what `search.Classifier` reads."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Convolutions(nn.Module):
    """Kim 2014 with random embeddings (section 2): filters over every few words, of each its maximum over the text.

    The dropout of section 2.1 is the classifier's; its bound on the norm of the classifier's weights is left out.
    """

    def __init__(
        self, vocabulary: int, padding: int, *, embedding: int, widths: Sequence[int], filters: int
    ) -> None:
        super().__init__()
        self.hidden_size = len(widths) * filters  # of the vector
        self.embedding = embeddings(vocabulary, padding, embedding)
        self.filters = nn.ModuleList(nn.Conv1d(embedding, filters, width) for width in widths)

    def forward(self, tokens_BT: Tensor) -> Tensor:
        real_B1T = (tokens_BT != self.embedding.padding_idx)[:, None]
        embedded_BET = self.embedding(tokens_BT).mT
        found = []
        for filters in self.filters:
            assert isinstance(filters, nn.Conv1d)
            # as many positions as tokens, the last ones with zeros after them: a text may be shorter than a filter
            ahead_BET = nn.functional.pad(embedded_BET, (0, filters.kernel_size[0] - 1))
            found.append((filters(ahead_BET).relu() * real_B1T).amax(dim=-1))  # nothing is below zero here
        return torch.cat(found, dim=-1)


class Recurrent(nn.Module):
    """An LSTM in each direction (Graves and Schmidhuber 2005), and the last state of both.

    Rows are turned round and read whole: PyTorch's packed sequences take five times as long on a CPU.
    """

    def __init__(
        self, vocabulary: int, padding: int, *, embedding: int, layers: int, hidden_size: int
    ) -> None:
        super().__init__()
        self.hidden_size = 2 * hidden_size  # of the vector
        self.embedding = embeddings(vocabulary, padding, embedding)
        self.ahead, self.back = (nn.LSTM(embedding, hidden_size, layers, batch_first=True) for _ in range(2))

    def forward(self, tokens_BT: Tensor) -> Tensor:
        padding = self.embedding.padding_idx
        rows_B = torch.arange(len(tokens_BT), device=tokens_BT.device)
        last_B = (tokens_BT != padding).sum(dim=1).clamp(min=1) - 1
        mirrored_BT = tokens_BT.flip(1)
        order_BT = (mirrored_BT == padding).byte().argsort(dim=1, stable=True)  # padding on the right again
        read = ((self.ahead, tokens_BT), (self.back, mirrored_BT.gather(1, order_BT)))
        return torch.cat([lstm(self.embedding(each))[0][rows_B, last_B] for lstm, each in read], dim=-1)


def embeddings(vocabulary: int, padding: int, hidden_size: int) -> nn.Embedding:
    """Return vectors within +-0.25, as Kim's of words that word2vec lacks; that of padding is zero and stays so."""
    made = nn.Embedding(vocabulary, hidden_size, padding_idx=padding)
    nn.init.uniform_(made.weight, -0.25, 0.25)
    with torch.no_grad():
        made.weight[padding] = 0
    return made
