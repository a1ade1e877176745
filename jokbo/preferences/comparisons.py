"""Preferences: which of two texts somebody liked better. One table for people and for simulated raters.

A row is one comparison: `prompt`; `responses`, two or more; `choice`, the index of the preferred one;
`labeller`, who chose; `kind`, "human" or "simulated"; `agreement`, the share of the raters asked who agree
with the choice; `time`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset, Features, List, Value

from jokbo.data.outputs import save_tables
from jokbo.data.tables import rows_of
from jokbo.preferences.raters import SCALE, Raters
from jokbo.runtime.errors import InputError

KINDS = ("human", "simulated")
FEATURES = Features(
    {
        "prompt": Value("string"),
        "responses": List(Value("string")),
        "choice": Value("int64"),
        "labeller": Value("string"),
        "kind": Value("string"),
        "agreement": Value("float64"),
        "time": Value("string"),
    }
)
PUBLISHED = "2014-06-01T00:00:00Z"  # ICWSM 2014 opened: the ratings themselves carry no time
NO_TIME = "1970-01-01T00:00:00Z"  # a simulated rater has no clock, and a rerun must write the same bytes

Comparison = dict[str, Any]


def rated_snippets(documents: Dataset, source: str) -> tuple[list[str], list[list[int]]]:
    """Texts of one source and their single human ratings; InputError if the source has none."""
    rows = [row for row in rows_of(documents) if source in row["sources"] and row["ratings"]]
    if not rows:
        known = sorted({name for names in documents["sources"] for name in names})
        raise InputError(f"source {source!r} has no rated texts here; sources are {', '.join(known)}")
    return [row["text"] for row in rows], [row["ratings"] for row in rows]


def human_comparisons(
    texts: Sequence[str],
    ratings: Sequence[Sequence[int]],
    *,
    pairs: int,
    seed: int,
    minimum_agreement: float,
    source: str,
) -> list[Comparison]:
    """Comparisons that people's single ratings imply, between random pairs of texts of one source.

    Every rating of the one text is held against every rating of the other, ties left out: the choice is the
    text that wins more of them, and `agreement` is the share it wins. Pairs below `minimum_agreement` (0.5
    keeps all that are not a draw) are passed over. No two texts meet twice. Raises InputError if there are
    not `pairs` of them.
    """
    histogram_NR = np.array(
        [np.bincount(np.subtract(row, SCALE[0]), minlength=len(SCALE)) for row in ratings]
    )
    below_NR = histogram_NR.cumsum(axis=1) - histogram_NR
    count = len(texts)
    orderings = count * (count - 1)  # ordered pairs: which text comes first is part of the draw
    drawn = min(orderings, 4 * pairs)
    while True:
        code_P = np.random.default_rng(seed).choice(orderings, size=drawn, replace=False)
        first_P, second_P = code_P // (count - 1), code_P % (count - 1)
        second_P += second_P >= first_P
        meeting_P = np.minimum(first_P, second_P) * count + np.maximum(first_P, second_P)
        new = np.sort(np.unique(meeting_P, return_index=True)[1])
        first_P, second_P = first_P[new], second_P[new]
        first_wins_P = (histogram_NR[first_P] * below_NR[second_P]).sum(axis=1)
        second_wins_P = (histogram_NR[second_P] * below_NR[first_P]).sum(axis=1)
        agreement_P = np.maximum(first_wins_P, second_wins_P) / np.maximum(first_wins_P + second_wins_P, 1)
        kept = np.flatnonzero((first_wins_P != second_wins_P) & (agreement_P >= minimum_agreement))[:pairs]
        if len(kept) == pairs:
            break
        if drawn == orderings:
            raise InputError(
                f"human comparisons: {count} texts of {source!r} give {len(kept)} pairs with agreement of at "
                f"least {minimum_agreement}, not {pairs}; ask for fewer or for less agreement"
            )
        drawn = min(orderings, 4 * drawn)
    return [
        {
            "prompt": "",
            "responses": [texts[int(first_P[p])], texts[int(second_P[p])]],
            "choice": int(second_wins_P[p] > first_wins_P[p]),
            "labeller": source,
            "kind": "human",
            "agreement": float(agreement_P[p]),
            "time": PUBLISHED,
        }
        for p in kept
    ]


def simulated_comparisons(
    prompts: Sequence[str],
    responses: Sequence[Sequence[str]],
    raters: Raters,
    *,
    seed: int,
) -> list[Comparison]:
    """Simulated raters' choices between responses to the same prompt, one rater a comparison.

    All pairs of the responses to a prompt. The rater reads the response alone: the prompt is common to both. Pairs that
    nobody could choose between, of equal texts or with an empty one, are left out, so a prompt may have fewer.
    """
    pairs = []
    for prompt, answers in zip(prompts, responses, strict=True):
        stripped = [answer.strip() for answer in answers]
        pairs += [
            (prompt, answers[i], answers[j])
            for i, j in combinations(range(len(answers)), 2)
            if stripped[i] and stripped[j] and stripped[i] != stripped[j]
        ]
    if not pairs:
        raise InputError("simulated comparisons: no prompt has two different responses; sample more of them")
    choices = raters.compare([first for _, first, _ in pairs], [second for _, _, second in pairs], seed=seed)
    return [
        {
            "prompt": prompt,
            "responses": [first, second],
            "choice": int(choice),
            "labeller": "simulated rater",
            "kind": "simulated",
            "agreement": 1.0,
            "time": NO_TIME,
        }
        for (prompt, first, second), choice in zip(pairs, choices[:, 0], strict=True)
    ]


def comparison_table(rows: Sequence[Comparison]) -> Dataset:
    """The rows as a data set with FEATURES; InputError names the first bad row, counted from 0."""
    for number, row in enumerate(rows):
        problem = _problem(row)
        if problem:
            raise InputError(f"comparison {number}: {problem}")
    return Dataset.from_list(list(rows), features=FEATURES)


def save_comparisons(splits: Mapping[str, Sequence[Comparison]], path: Path) -> None:
    """Write checked splits as a DatasetDict: the same rows make the same bytes."""
    save_tables({name: comparison_table(rows).data.table for name, rows in splits.items()}, path)


def _problem(row: Comparison) -> str | None:
    missing, unknown = sorted(FEATURES.keys() - row.keys()), sorted(row.keys() - FEATURES.keys())
    if missing or unknown:
        return f"missing {missing}, unknown {unknown}; the columns are {', '.join(FEATURES)}"
    responses = row["responses"]
    if len(responses) < 2:
        return f"{len(responses)} response(s); give two or more"
    for index, response in enumerate(responses):
        if not isinstance(response, str) or not response.strip():
            return f"response {index} is {response!r}; give a text"
    if not isinstance(row["choice"], int) or not 0 <= row["choice"] < len(responses):
        return f"choice is {row['choice']!r}; give the index of a response, 0 to {len(responses) - 1}"
    if row["kind"] not in KINDS:
        return f"kind is {row['kind']!r}; give one of {', '.join(KINDS)}"
    if not 0 <= row["agreement"] <= 1:
        return f"agreement is {row['agreement']!r}; give a share, 0 to 1"
    return None
