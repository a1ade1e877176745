"""How well a reward model, or what a policy implies of rewards, agrees with what people prefer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from jokbo.alignment.calibration import error_by_unit, reliability
from jokbo.alignment.results import PreferenceScore
from jokbo.alignment.reward import encode
from jokbo.evaluation.intervals import by_unit
from jokbo.models import heads

if TYPE_CHECKING:
    from jokbo.data.tables import Row


def with_people(
    network: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, rows: Sequence[Row], context: int
) -> PreferenceScore:
    """Return the score of a reward model on preference pairs, none of them a tie."""
    raw = [heads.outputs(network, side).squeeze(-1) for side in encode(tokenizer, rows, context)]
    return of_margins(raw[0] - raw[1], rows)


def of_margins(margins: Tensor, rows: Sequence[Row]) -> PreferenceScore:
    """Return accuracy, over all and by source, and calibration, given rewards of preferred less other responses, [N].

    A text is of several pairs, so what is known of any figure goes by the number of texts.
    """
    right = (margins > 0).tolist()
    texts = [tuple(row["prompt"] + response for response in row["responses"]) for row in rows]
    by_source: dict[str, list[int]] = {}
    for i, row in enumerate(rows):
        by_source.setdefault(row["source"], []).append(i)
    # which of the two stands first must not be known beforehand: the choice's own index decides it
    first_wins = [row["choice"] == 0 for row in rows]
    signed = torch.where(torch.tensor(first_wins), margins, -margins)
    forecasts = (torch.sigmoid(signed).tolist(), first_wins, texts)
    return PreferenceScore(
        comparisons=len(right),
        texts=len({text for pair in texts for text in pair}),
        accuracy=by_unit(right, texts)._asdict(),
        accuracy_by_source={
            name: by_unit([right[i] for i in own], [texts[i] for i in own])._asdict()
            for name, own in by_source.items()
        },
        calibration_error=error_by_unit(*forecasts)._asdict(),
        calibration=[row._asdict() for row in reliability(*forecasts)],
    )
