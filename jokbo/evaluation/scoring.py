"""Models side by side: what they write after the same held-out prompts, and how that is scored."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from jokbo.alignment.ensembles import rewards
from jokbo.alignment.reward import with_end_of_text
from jokbo.data.prompts import Prompts
from jokbo.evaluation import intervals
from jokbo.evaluation.diversity import Distinct, distinct_n
from jokbo.evaluation.evaluation import Evaluation, JudgeResult, JudgeScores, Scores, Student
from jokbo.evaluation.judges.judge import GOOD, Judged
from jokbo.evaluation.perplexity import perplexity_of, response_nats, words
from jokbo.models import access
from jokbo.sampling import Rollout, sample, sequence_kl

if TYPE_CHECKING:
    from jokbo.params.chain import Evaluate

BASE, SUPERVISED, DISTILLED = "base", "supervised", "distilled"  # names of three of the models
Networks = Mapping[str, PreTrainedModel]


def responses(networks: Networks, held_out: Prompts, settings: Evaluate) -> dict[str, Rollout]:
    """Return every model's responses to the prompts."""
    return {
        name: sample(
            network,
            held_out.prompts_NP,
            response_tokens=held_out.response_tokens,
            temperature=settings.temperature,
            seed=settings.seed,
        )
        for name, network in networks.items()
    }


def rewarded(
    members: Sequence[PreTrainedModel], rollouts: Mapping[str, Rollout], tokenizer: PreTrainedTokenizerBase
) -> dict[str, Tensor]:
    """Return the rewards of each model's responses, a mean over the members of the reward model."""
    end, padding = access.end_of_text(tokenizer), access.padding(tokenizer)
    return {
        name: rewards(members, with_end_of_text(rollout.tokens_BS, end, padding)).cpu()
        for name, rollout in rollouts.items()
    }


def scored(
    networks: Networks, rollouts: Mapping[str, Rollout], held_out: Prompts, rewards_of: Mapping[str, Tensor]
) -> dict[str, dict[str, Any]]:
    """Return the scores of every model, but for distinct-n."""
    found: dict[str, dict[str, Any]] = {}
    nats_of = {name: response_nats(network, held_out) for name, network in networks.items()}
    for name, network in networks.items():
        rollout = rollouts[name]
        kl_B = sequence_kl(network, networks[SUPERVISED], rollout).double()
        found[name] = {
            **asdict(perplexity_of(nats_of[name], held_out)),
            "nats_saved": _saved(nats_of[BASE], nats_of[name], held_out) if name != BASE else None,
            "kl": kl_B.mean().item(),
            "kl_per_token": (kl_B.sum() / rollout.mask_BR.sum()).item(),
            "reward": rewards_of[name].mean().item() if rewards_of else None,
            "length": rollout.lengths_B.double().mean().item(),
        }
    return found


def _saved(theirs_NT: Tensor, ours_NT: Tensor, held_out: Prompts) -> intervals.Estimated:
    """Return how many nats fewer a token costs us than them, with its standard error: prompts are independent."""
    words_NT = words(held_out)
    rows, _ = words_NT.nonzero(as_tuple=True)
    units = [(row,) for row in rows.tolist()]
    return intervals.by_unit((theirs_NT - ours_NT)[words_NT], units)._asdict()


def judge_result(
    kind: str, judged: Judged, lengths: Mapping[str, np.ndarray], settings: Evaluate
) -> JudgeResult:
    """Return what a judge says of each model, with intervals over prompts.

    That is how often its responses are good, and how often better than the supervised model's: over all prompts, and
    over the length-matched ones, whose two responses differ by at most `matched_tokens`.
    """
    bootstrap = {"samples": settings.bootstrap, "seed": settings.seed}
    theirs = judged.scores[SUPERVISED]
    found: dict[str, JudgeScores] = {}
    for name, ours in judged.scores.items():
        other = name != SUPERVISED
        near = abs(lengths[name] - lengths[SUPERVISED]) <= settings.matched_tokens
        alike = other and near.sum() > 1
        good = intervals.mean((ours > GOOD).tolist(), **bootstrap) if judged.probabilities else None
        won = intervals.win_rate(ours, theirs, **bootstrap) if other else None
        won_near = intervals.win_rate(ours[near], theirs[near], **bootstrap) if alike else None
        found[name] = JudgeScores(
            score=float(ours.mean()),
            **_interval("good", good),
            **_interval("win_rate", won),
            **_interval("length_matched_win_rate", won_near),
            length_matched=int(near.sum()) if other else None,
        )
    trust = {source: dict(tried) for source, tried in judged.trust.items()}
    return JudgeResult(kind, judged.about, judged.probabilities, found, trust)


def _interval(name: str, interval: intervals.Interval | None) -> dict[str, Any]:
    value, low, high = interval or (None, None, None)
    return {name: value, f"{name}_low": low, f"{name}_high": high}


def evaluation(
    networks: Networks,
    samples: Mapping[str, list[str]],
    scores: Mapping[str, dict[str, Any]],
    judges: dict[str, JudgeResult],
    held_out: Prompts,
    settings: Evaluate,
) -> Evaluation:
    """Return all that was found in one piece. `scores` have what `scored` gives; of `judges` the first comes first."""
    distinct = {f"distinct_{n}": distinct_n(samples, n) for n in (1, 2)}
    models = {name: Scores(**own, **_shares(distinct, name)) for name, own in scores.items()}
    students = {
        who: Student(
            models[name].perplexity,
            models[name].end_nats,
            networks[name].num_parameters(exclude_embeddings=True),
        )
        for who, name in (("teacher", SUPERVISED), ("student", DISTILLED))
        if DISTILLED in models
    }
    ngrams = {measure: found.count for measure, found in distinct.items()}
    return Evaluation(
        len(held_out), settings.matched_tokens, ngrams, models, students, judges, settings.headline
    )


def _shares(distinct: Mapping[str, Distinct], name: str) -> dict[str, Any]:
    return {measure: found.shares[name] for measure, found in distinct.items()}


def speeds(network: PreTrainedModel, held_out: Prompts, rows: int = 64, repeats: int = 4) -> dict[str, float]:
    """Return tokens a second, the best of a few: reading whole sequences, and writing responses token by token."""
    tokens_BS, prompts_BP = held_out.tokens_NS[:rows].to(network.device), held_out.prompts_NP[:rows]
    response = tokens_BS.shape[1] - prompts_BP.shape[1]

    def reading() -> None:
        with torch.no_grad():
            network(input_ids=tokens_BS, use_cache=False)

    def writing() -> None:
        options = {"min_new_tokens": response, "max_new_tokens": response, "do_sample": False}
        access.continued(network, prompts_BP.to(network.device), **options)

    return {
        "reading": tokens_BS.numel() / min(_seconds(reading) for _ in range(repeats)),
        "writing": rows * response / min(_seconds(writing) for _ in range(repeats)),
    }


def _seconds(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    if torch.accelerator.is_available():
        torch.accelerator.synchronize()  # it was only told what to do
    return time.perf_counter() - began
