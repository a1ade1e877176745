"""Every model of the family on the same held-out prompts, judged by what no earlier stage has seen.

`python -m tasks.evaluate`
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from datasets import DatasetDict
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
)

from jokbo.alignment.reward import closed, rewards
from jokbo.data.prompts import Prompts
from jokbo.data.selection import labelled_from
from jokbo.data.tables import open_splits, open_table
from jokbo.evaluation import intervals, judge
from jokbo.evaluation.diversity import distinct_n
from jokbo.evaluation.perplexity import answer_perplexity
from jokbo.models import access
from jokbo.models.sampling import sample, sequence_kl
from jokbo.runtime.files import whole_directory, write_text
from jokbo.runtime.tracking import flat
from tasks.frame.paths import (
    ALIGNED,
    BASE,
    DOCUMENTS,
    EVALUATION,
    JUDGE_TEXTS,
    POLICY,
    PROMPTS,
    REWARD,
    STUDENT,
)
from tasks.frame.records import note_few, write_metrics
from tasks.frame.stage import Stage, run_stage, timing

if TYPE_CHECKING:
    from jokbo.params.chain import Evaluate

SYSTEMS = {"base": BASE, "supervised": POLICY, "distilled": STUDENT, "aligned": ALIGNED}


def evaluate(stage: Stage) -> None:
    params = stage.params
    documents = open_splits(DOCUMENTS)
    tokenizer = AutoTokenizer.from_pretrained(POLICY)
    networks = {
        name: AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
        for name, path in SYSTEMS.items()
    }
    supervised = networks["supervised"]
    set_aside = open_table(JUDGE_TEXTS)
    the_judge = judge.fit(set_aside["text"], set_aside["label"])
    reward_model = AutoModelForSequenceClassification.from_pretrained(REWARD, dtype=torch.float32)
    # one prompt a review: prompts are independent
    held_out = Prompts.open(PROMPTS / "test", limit=params.prompts)
    note_few(stage, "prompts", params.prompts, len(held_out))
    rollouts = {
        name: sample(
            network,
            held_out.prompts_NP,
            response_tokens=held_out.response_tokens,
            temperature=params.temperature,
            seed=params.seed,
        )
        for name, network in networks.items()
    }
    samples = {name: rollout.texts(tokenizer) for name, rollout in rollouts.items()}
    positive = {name: the_judge.positive(texts) for name, texts in samples.items()}
    distinct = {f"distinct_{n}": distinct_n(samples, n) for n in (1, 2)}
    systems = {}
    for name, network in networks.items():
        rollout = rollouts[name]
        kl_B = sequence_kl(network, supervised, rollout).double()
        closed_BS = closed(rollout.tokens_BS, tokenizer.eos_token_id, tokenizer.pad_token_id)
        systems[name] = {
            **answer_perplexity(network, held_out),
            "kl": kl_B.mean().item(),
            "kl_per_token": (kl_B.sum() / rollout.mask_BR.sum()).item(),
            "reward": rewards(reward_model, closed_BS).mean().item(),
            **{measure: found.shares[name] for measure, found in distinct.items()},
            "length": rollout.lengths_B.double().mean().item(),
        }
    lengths = {name: rollout.lengths_B.numpy() for name, rollout in rollouts.items()}
    for name, judged in _judged(positive, lengths, params).items():
        systems[name] |= judged
    _note_speeds(stage, {name: _speeds(networks[name], held_out) for name in ("supervised", "distilled")})
    evaluation = {
        "prompts": len(held_out),
        "matched_tokens": params.matched_tokens,
        "ngrams": {measure: found.count for measure, found in distinct.items()},
        "systems": systems,
        "student": {
            who: {
                "parameters": networks[name].num_parameters(exclude_embeddings=True),
                **{measure: systems[name][measure] for measure in ("perplexity", "end_nats")},
            }
            for who, name in (("teacher", "supervised"), ("student", "distilled"))
        },
        "judge": _judge_accuracy(the_judge, documents),
    }
    with whole_directory(EVALUATION) as folder:
        (folder / "evaluation.json").write_text(json.dumps(evaluation, indent=1, sort_keys=True) + "\n")
        with open(folder / "samples.jsonl", "w", encoding="utf-8") as file:
            for i, prompt in enumerate(tokenizer.batch_decode(held_out.prompts_NP)):
                row = {"prompt": prompt, **{name: samples[name][i] for name in systems}}
                row["judge"] = {name: float(positive[name][i]) for name in systems}
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
    write_metrics(stage, evaluation)


def _judged(
    positive: dict[str, np.ndarray], lengths: dict[str, np.ndarray], params: Evaluate
) -> dict[str, dict[str, float | None]]:
    """Of each system, with intervals over prompts: how often the judge finds its answers positive, and more positive
    than the supervised system's; the latter also of those `matched` prompts where the two answers are about as long.
    """
    judged = {}
    bootstrap = {"samples": params.bootstrap, "seed": params.seed}
    theirs = positive["supervised"]
    for name, ours in positive.items():
        other = name != "supervised"
        near = abs(lengths[name] - lengths["supervised"]) <= params.matched_tokens
        alike = other and near.sum() > 1
        judged[name] = {
            **_interval("positive", intervals.mean((ours > 0.5).tolist(), **bootstrap)),
            **_interval("win_rate", intervals.win_rate(ours, theirs, **bootstrap) if other else None),
            **_interval(
                "matched_win_rate",
                intervals.win_rate(ours[near], theirs[near], **bootstrap) if alike else None,
            ),
            "matched": int(near.sum()) if other else None,
        }
    return judged


def _interval(name: str, interval: intervals.Interval | None) -> dict[str, float | None]:
    value, low, high = interval or (None, None, None)
    return {name: value, f"{name}_low": low, f"{name}_high": high}


def _judge_accuracy(the_judge: judge.Judge, documents: DatasetDict) -> dict[str, dict[str, float]]:
    """How far the judge can be believed: on whole held-out reviews, on their sentences, on another set's sentences. The
    sentences of one review stand or fall together."""
    texts, labels = labelled_from(documents["test"], "imdb")
    pieces = [
        (piece, label, review)
        for review, (text, label) in enumerate(zip(texts, labels, strict=True))
        for piece in judge.sentences(text, 2)
    ]
    short, their_labels, reviews = zip(*pieces, strict=True)
    other, other_labels = labelled_from(documents["test"], "rotten_tomatoes")
    return {
        name: intervals.by_unit(
            judge.right(the_judge, some, some_labels), [(unit,) for unit in units]
        )._asdict()
        for name, some, some_labels, units in (
            ("reviews", texts, labels, range(len(texts))),
            ("sentences", short, their_labels, reviews),
            ("rotten_tomatoes", other, other_labels, range(len(other))),
        )
    }


def _speeds(
    network: PreTrainedModel, held_out: Prompts, rows: int = 64, repeats: int = 4
) -> dict[str, float]:
    """Tokens a second, the best of a few, of reading whole sequences and of writing answers a token at a time."""
    tokens_BS, prompts_BP = held_out.tokens_NS[:rows].to(network.device), held_out.prompts_NP[:rows]
    answer = tokens_BS.shape[1] - prompts_BP.shape[1]

    def reading() -> None:
        with torch.no_grad():
            network(input_ids=tokens_BS, use_cache=False)

    def writing() -> None:
        options = {"min_new_tokens": answer, "max_new_tokens": answer, "do_sample": False}
        access.continued(network, prompts_BP.to(network.device), **options)

    return {
        "reading": tokens_BS.numel() / min(_seconds(reading) for _ in range(repeats)),
        "writing": rows * answer / min(_seconds(writing) for _ in range(repeats)),
    }


def _seconds(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _note_speeds(stage: Stage, speeds: dict[str, dict[str, float]]) -> None:
    """A speed is this machine's and this moment's: it goes to the records of runs, not into outputs."""
    stage.run.log({f"tokens_per_second/{name}": value for name, value in flat(speeds).items()})
    write_text(timing("speed"), json.dumps(speeds) + "\n")


if __name__ == "__main__":
    run_stage("evaluate", evaluate)
