"""How well a reward model, or what a policy implies of rewards, agrees with what people prefer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from jokbo.alignment import ensembles
from jokbo.alignment.calibration import error_by_unit, reliability
from jokbo.alignment.results import Group, PreferenceScore
from jokbo.alignment.reward import encode
from jokbo.evaluation.intervals import by_unit

if TYPE_CHECKING:
    from jokbo.data.tables import Row

UNNAMED = "nobody named"
LONGER = {  # by how many words the preferred response is longer than the other: from so many on
    "shorter by 10 words or more": -math.inf,
    "shorter by 3 to 9": -9,
    "as long within 2": -2,
    "longer by 3 to 9": 3,
    "longer by 10 or more": 10,
}


def with_people(
    members: Sequence[PreTrainedModel],
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[Row],
    context: int,
) -> PreferenceScore:
    """Return the score of a reward model, of one member or more, on preference pairs, none of them a tie."""
    return of_margins(ensembles.leads(members, encode(tokenizer, rows, context)), rows)


def of_margins(margins: Tensor, rows: Sequence[Row]) -> PreferenceScore:
    """Return accuracy, over all and by groups, and calibration, given rewards of preferred less other responses, [N].

    A text is of several pairs, so what is known of any figure goes by the number of texts.
    """
    right = (margins > 0).tolist()
    texts = [tuple(row["prompt"] + response for response in row["responses"]) for row in rows]

    def groups(names: Sequence[str], order: Sequence[str]) -> list[Group]:
        of_group = {name: [i for i, found in enumerate(names) if found == name] for name in order}
        return [
            Group(name, len(own), by_unit([right[i] for i in own], [texts[i] for i in own])._asdict())
            for name, own in of_group.items()
            if own
        ]

    sources, labellers = ([row[key] or UNNAMED for row in rows] for key in ("source", "labeller"))
    agreements = [agreement_of(row) for row in rows]
    # which of the two stands first must not be known beforehand: the choice's own index decides it
    first_wins = [row["choice"] == 0 for row in rows]
    signed = torch.where(torch.tensor(first_wins), margins, -margins)
    forecasts = (torch.sigmoid(signed).tolist(), first_wins, texts)
    return PreferenceScore(
        comparisons=len(right),
        texts=len({text for pair in texts for text in pair}),
        accuracy=by_unit(right, texts)._asdict(),
        accuracy_by_source={
            each.group: each.accuracy for each in groups(sources, list(dict.fromkeys(sources)))
        },
        accuracy_by_labeller=groups(labellers, sorted(set(labellers))),
        accuracy_by_agreement=groups(agreements, sorted(set(agreements))),
        accuracy_by_length=groups([longer(row) for row in rows], list(LONGER)),
        calibration_error=error_by_unit(*forecasts)._asdict(),
        calibration=[row._asdict() for row in reliability(*forecasts)],
    )


def agreement_of(row: Row) -> str:
    """Return between which tenths the agreement of a pair's raters is; all of them is a group by itself."""
    tenth = math.floor(round(10 * row["agreement"], 6))
    return "1.0" if tenth == 10 else f"{tenth / 10:.1f} to {(tenth + 1) / 10:.1f}"


def longer(row: Row) -> str:
    """Return the name in LONGER of how much longer the preferred response is."""
    words = [len(response.split()) for response in row["responses"]]
    more = words[row["choice"]] - words[1 - row["choice"]]
    return [name for name, least in LONGER.items() if more >= least][-1]
