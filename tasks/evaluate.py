"""Every model of the family on the same held-out prompts, judged by what no earlier stage has seen.

`python -m tasks.evaluate`
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import torch
from datasets import DatasetDict, load_from_disk
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
)

from jokbo.alignment.reward import closed, rewards
from jokbo.alignment.rollouts import sample, sequence_kl
from jokbo.data.outputs import whole_directory
from jokbo.data.selection import labelled_from
from jokbo.evaluation import intervals, judge
from jokbo.evaluation.diversity import distinct_n
from jokbo.evaluation.perplexity import masked_perplexity
from jokbo.finetuning.continuation import Continuations, for_policy
from jokbo.tracking import flat
from tasks.losses import note_prompts
from tasks.paths import ALIGNED, BASE, DOCUMENTS, EVALUATION, JUDGE_TEXTS, POLICY, REWARD, STUDENT
from tasks.records import write_metrics
from tasks.stage import Stage, run_stage, timing

SYSTEMS = {"base": BASE, "supervised": POLICY, "distilled": STUDENT, "aligned": ALIGNED}


def evaluate(stage: Stage) -> None:
    params = stage.params
    documents = load_from_disk(DOCUMENTS)
    tokenizer = AutoTokenizer.from_pretrained(POLICY)
    networks = {
        name: AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
        for name, path in SYSTEMS.items()
    }
    supervised = networks["supervised"]
    set_aside = load_from_disk(JUDGE_TEXTS)
    the_judge = judge.fit(set_aside["text"], set_aside["label"])
    reward_model = AutoModelForSequenceClassification.from_pretrained(REWARD, dtype=torch.float32)
    held_out = for_policy(
        supervised, tokenizer, documents["test"], seed=params.seed, per_text=1, limit=params.prompts
    )
    note_prompts(stage, held_out)
    systems, samples, positive = {}, {}, {}
    for name, network in networks.items():
        rollout = sample(
            network,
            held_out.prompts_NP,
            response_tokens=supervised.config.response_tokens,
            temperature=params.temperature,
            seed=params.seed,
        )
        samples[name] = rollout.texts(tokenizer)
        positive[name] = the_judge.positive(samples[name])
        ends = (tokenizer.eos_token_id, tokenizer.pad_token_id)
        systems[name] = {
            "perplexity": masked_perplexity(network, held_out.tokens_NS, held_out.mask_NT),
            "kl": sequence_kl(network, supervised, rollout).mean().item(),
            "reward": rewards(reward_model, closed(rollout.tokens_BS, *ends)).mean().item(),
            "distinct_1": distinct_n(samples[name], 1),
            "distinct_2": distinct_n(samples[name], 2),
            "length": rollout.lengths_B.double().mean().item(),
        }
    bootstrap = {"samples": params.bootstrap, "seed": params.seed}
    for name, system in systems.items():
        judged = intervals.mean((positive[name] > 0.5).tolist(), **bootstrap)
        won = intervals.win_rate(positive[name], positive["supervised"], **bootstrap)
        system |= _interval("positive", judged)
        system |= _interval("win_rate", won if name != "supervised" else None)
    _note_speeds(stage, {name: _speeds(networks[name], held_out) for name in ("supervised", "distilled")})
    evaluation = {
        "prompts": len(held_out),
        "systems": systems,
        "student": {
            who: {
                "parameters": networks[name].num_parameters(exclude_embeddings=True),
                "perplexity": systems[name]["perplexity"],
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


def _interval(name: str, interval: intervals.Interval | None) -> dict[str, float | None]:
    value, low, high = interval or (None, None, None)
    return {name: value, f"{name}_low": low, f"{name}_high": high}


def _judge_accuracy(the_judge: judge.Judge, documents: DatasetDict) -> dict[str, float]:
    """How far the judge can be believed: on whole held-out reviews, on their sentences, on another set's sentences."""
    texts, labels = labelled_from(documents["test"], "imdb")
    pieces = [
        (piece, label)
        for text, label in zip(texts, labels, strict=True)
        for piece in judge.sentences(text, 2)
    ]
    short, their_labels = zip(*pieces, strict=True)
    other, other_labels = labelled_from(documents["test"], "rotten_tomatoes")
    return {
        "reviews": judge.accuracy(the_judge, texts, labels),
        "sentences": judge.accuracy(the_judge, short, their_labels),
        "rotten_tomatoes": judge.accuracy(the_judge, other, other_labels),
    }


def _speeds(
    network: PreTrainedModel, held_out: Continuations, rows: int = 64, repeats: int = 4
) -> dict[str, float]:
    """Tokens a second, the best of a few, of reading whole sequences and of writing answers a token at a time."""
    tokens_BS, prompts_BP = held_out.tokens_NS[:rows].to(network.device), held_out.prompts_NP[:rows]
    answer = tokens_BS.shape[1] - prompts_BP.shape[1]

    def reading() -> None:
        with torch.no_grad():
            network(input_ids=tokens_BS, use_cache=False)

    def writing() -> None:
        network.generate(
            prompts_BP.to(network.device), min_new_tokens=answer, max_new_tokens=answer, do_sample=False
        )

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
    path = timing("speed")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(speeds) + "\n")


if __name__ == "__main__":
    run_stage("evaluate", evaluate)
