"""The supervised policy learns what is preferred: by PPO, from the reward model, or by DPO, from the pairs themselves.

`python -m tasks.align`
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from jokbo.alignment import agreement, ensembles, memory, mix, rollouts
from jokbo.alignment import dpo as dpo_
from jokbo.alignment import held_out as held_out_
from jokbo.alignment import labels as labels_
from jokbo.alignment import ppo as ppo_
from jokbo.alignment.networks import Networks
from jokbo.alignment.results import Alignment, Change, DirectAlignment
from jokbo.alignment.value import start_of
from jokbo.data.corpus.batches import TokenCorpus
from jokbo.data.prompts import Prompts
from jokbo.data.tables import open_splits, rows_of
from jokbo.models import access
from jokbo.preferences.pairs import decided
from jokbo.runtime.errors import InputError
from jokbo.runtime.files import atomic_write_folder
from jokbo.training import engine, processes
from jokbo.training import memory as training_memory
from jokbo.training.methods import ADAPTER
from tasks.frame.paths import ALIGNED, POLICY, PREFERENCES, PROMPTS, REWARD, ROLLOUTS, TOKENS
from tasks.frame.records import leave_out, note, say, write_curves, write_metrics
from tasks.frame.stage import Stage, leads, run_stage

if TYPE_CHECKING:
    from jokbo.alignment.trunk import Four
    from jokbo.data.tables import Row
    from jokbo.params import Dpo, Ppo

TRAINING = "align.training"  # of DPO, in params.yaml
CHANGES = [field.name for field in fields(Alignment) if field.name != "kind"]


def align(stage: Stage[Any]) -> None:
    processes.join()
    {"ppo": ppo, "dpo": dpo}[stage.params.kind](stage)


def ppo(stage: Stage[Ppo]) -> None:
    params = stage.params
    tokenizer = AutoTokenizer.from_pretrained(POLICY)
    policy = AutoModelForCausalLM.from_pretrained(POLICY, dtype=torch.float32)
    asked = Prompts.open(PROMPTS / "prompts", prompts_per_text=params.prompts_per_text)
    kept, made_from, texts_at = stage.checkpoints / "rollouts", [POLICY, REWARD, PROMPTS], None
    if params.pretraining_mix:
        made_from.append(TOKENS)
        texts_at = mix.texts_of(TokenCorpus.open(TOKENS / "train"), policy, params.pretraining_mix, params)

    def record(iteration: int, seen: rollouts.Experience) -> None:
        if not leads():  # all ranks have seen the same
            return
        rollouts.keep(iteration, rollouts.records(iteration, seen, tokenizer), kept)
        stage.run.text(rollouts.shown(seen, tokenizer), f"samples/iteration-{iteration:05d}.txt")

    with _networks(policy, params) as found:
        micro_batch = stage.compute.micro_batch or params.minibatch // processes.world()
        members = ensembles.opened(REWARD, first=1)
        networks = Networks(*found, asked.response_tokens, micro_batch, members, params.disagreement_cost)
        memory.check(networks, asked.prompts_NP, params, stage.job(), texts_at)
        history = ppo_.align(networks, asked.prompts_NP, params, stage.job(), record, texts_at)
    if len(history) < params.iterations:
        found = f"KL is {history[-1]['kl']:.1f}, above align.stop_kl, {params.stop_kl:g}"
        say(stage, [f"it ends after {len(history)} of {params.iterations} iterations: {found}"])
    if leads():
        with atomic_write_folder(ROLLOUTS) as folder:
            rollouts.gather(kept, ppo_.recorded(params, len(history)), folder)
    engine.save_network(policy, tokenizer, ALIGNED, made_from, POLICY)
    write_curves(stage, {"align": history})
    changes = {name: Change(history[0][name], history[-1][name]) for name in CHANGES}
    write_metrics(stage, Alignment(params.kind, **changes))


@contextmanager
def _networks(policy: PreTrainedModel, params: Ppo) -> Iterator[Four]:
    """Yield policy, value, reference and reward model: four networks, or adapters on one trunk."""

    def scores() -> PreTrainedModel:
        return AutoModelForSequenceClassification.from_pretrained(REWARD, dtype=torch.float32)

    if params.method.kind == "full":
        reference = AutoModelForCausalLM.from_pretrained(POLICY, dtype=torch.float32)
        yield policy, start_of(scores(), params.value_layers), reference, scores()
        return
    from jokbo.alignment import trunk  # peft takes seconds to import

    with trunk.shared(policy, scores(), REWARD / ADAPTER, params.method, params.seed) as found:
        yield found


def dpo(stage: Stage[Dpo]) -> None:
    params, table = stage.params, open_splits(PREFERENCES)
    tokenizer = AutoTokenizer.from_pretrained(POLICY)
    policy = access.accelerated(AutoModelForCausalLM.from_pretrained(POLICY, dtype=torch.float32))
    engine.prefer_attention(policy)  # computed alike, policy and reference start at margins of zero
    context = access.context(policy)
    sides, kept = _read(stage, tokenizer, list(rows_of(table["train"])), context)
    precision = params.training.precision
    reference_N2 = dpo_.reference_log_probs(policy, sides, precision, stage.checkpoints / "reference")
    test = [row for row in decided(rows_of(table["test"])) if row["prompt"]]
    test_sides, test, _ = dpo_.encode(tokenizer, test, context)
    test_reference_N2 = dpo_.log_probs_of_all(policy, test_sides, precision) if test else None

    labels, size = labels_.labels_of(kept, params.labels), params.training.batch_size
    parts = held_out_.parts_of(kept, params.training.keep, params.seed, TRAINING)
    for name, left in parts.left_out().items():
        note(stage, name, *left)

    def batches(numbers: list[int]) -> Callable[[int], engine.Batch]:
        some = sides.of(numbers), labels.of(numbers), reference_N2[numbers]
        return dpo_.batches(*some, size, params.seed)

    own = engine.Overrides()
    if parts.validation:
        held_out_.check_fills(len(parts.validation), "pairs", size, TRAINING)
        own = engine.Overrides(validation=lambda: batches(parts.validation))
    objective, batch_at = dpo_.DpoLoss(policy, params.beta), batches(parts.train)
    training_memory.check(objective, batch_at, params.training, stage.job())
    history = engine.train(objective, batch_at, params.training, stage.job(), own)
    leave_out(ROLLOUTS, "DPO samples no responses")
    engine.save_network(policy, tokenizer, ALIGNED, [POLICY, PREFERENCES], POLICY)
    write_curves(stage, {"align": history})
    held_out = None
    if test_reference_N2 is not None:
        now_N2 = dpo_.log_probs_of_all(access.accelerated(policy), test_sides, precision)
        held_out = agreement.of_margins(dpo_.margins(now_N2, test_reference_N2, params.beta), test)
    changes = {name: Change(history[0][name], history[-1][name]) for name in ("loss", "accuracy", "margin")}
    write_metrics(stage, DirectAlignment(params.kind, len(parts.train), held_out=held_out, **changes))


def _read(
    stage: Stage[Dpo], tokenizer: PreTrainedTokenizerBase, whole: Sequence[Row], context: int
) -> tuple[dpo_.Sides, list[Row]]:
    """Return the pairs that DPO can learn of, and the rows that they are of; says what is left out."""
    rows = [row for row in whole if row["prompt"]]
    pairs = labels_.learned(rows, stage.params.labels)
    note(stage, "without_prompt", len(whole) - len(rows), len(whole), "pairs answer no prompt")
    note(stage, "ties", len(rows) - len(pairs), len(rows), "pairs are ties: DPO learns nothing of them")
    sides, kept, too_long = dpo_.encode(tokenizer, pairs, context)
    note(stage, "too_long", too_long, len(pairs), f"pairs are longer than the context, {context} tokens")
    if not len(sides):
        raise InputError(f"{PREFERENCES}: no pair is left for DPO: of {len(whole)}, see what is left out")
    return sides, kept


if __name__ == "__main__":
    run_stage("align", align, parallel=True)
