"""The reward model, fitted to comparisons, scored on people's that no stage has seen. `python -m tasks.reward`"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from datasets import Dataset
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from jokbo.alignment import reward as rewards_
from jokbo.data.corpus.batches import sample_indices
from jokbo.data.tables import Row, open_splits, rows_of
from jokbo.evaluation.calibration import error_by_unit, reliability
from jokbo.evaluation.intervals import by_unit
from jokbo.models import heads
from jokbo.reporting import model_card
from jokbo.training import engine
from tasks.frame.paths import POLICY, PREFERENCES, REWARD
from tasks.frame.records import note, write_curves, write_metrics
from tasks.frame.stage import Stage, run_stage


def reward(stage: Stage) -> None:
    params = stage.params
    comparisons = open_splits(PREFERENCES)
    tokenizer = AutoTokenizer.from_pretrained(POLICY)
    policy = AutoModelForCausalLM.from_pretrained(POLICY, dtype=torch.float32)
    network = rewards_.on_policy(policy, seed=params.seed)
    preferred_NS, rejected_NS = _encode(tokenizer, rows_of(comparisons["train"]), params.context)
    cut = sum(heads.full(side_NS, tokenizer.eos_token_id) for side_NS in (preferred_NS, rejected_NS))
    note(stage, "cut", cut, 2 * len(preferred_NS), "texts fill reward.context: the rest of them is not read")

    def batch_at(step: int) -> engine.Batch:
        indices = sample_indices(
            step, params.training.batch, len(preferred_NS), params.seed, str(PREFERENCES)
        )
        rows = torch.from_numpy(indices)
        both_NS = heads.trimmed(
            torch.cat([preferred_NS[rows], rejected_NS[rows]]),
            tokenizer.pad_token_id,
            tokenizer.eos_token_id,
        )
        preferred_BS, rejected_BS = both_NS.chunk(2)
        return {"preferred_BS": preferred_BS, "rejected_BS": rejected_BS}

    history = engine.train(rewards_.Compare(network), batch_at, params.training, stage.job())
    simulated = [row for row in rows_of(comparisons["train"]) if row["kind"] == "simulated"][
        : params.normalisation_samples // 2
    ]
    rewards_.normalise(network, torch.cat(_encode(tokenizer, simulated, params.context)))
    engine.save_network(network, tokenizer, REWARD, model_card.text(REWARD, network, [POLICY, PREFERENCES]))
    write_curves(stage, {"reward": history})
    write_metrics(stage, {"human": _score(network, tokenizer, comparisons["test"], params.context)})


def _encode(tokenizer: PreTrainedTokenizerBase, rows: Iterable[Row], context: int) -> tuple[Tensor, Tensor]:
    """Preferred and rejected sequences, prompt and answer, int64 [N, context] each."""
    preferred, rejected = [], []
    for row in rows:
        preferred.append(row["prompt"] + row["responses"][row["choice"]])
        rejected.append(row["prompt"] + row["responses"][1 - row["choice"]])
    return heads.encode(tokenizer, preferred, context), heads.encode(tokenizer, rejected, context)


def _score(network: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, rows: Dataset, context: int) -> dict:
    """Accuracy over all and by source, and calibration, on comparisons that people made.

    A text is of several comparisons, so what is known of any figure goes by the number of texts.
    """
    raw = [heads.outputs(network, side).squeeze(-1) for side in _encode(tokenizer, rows_of(rows), context)]
    margins = raw[0] - raw[1]
    right = (margins > 0).tolist()
    texts = [tuple(row["prompt"] + response for response in row["responses"]) for row in rows_of(rows)]
    by_source: dict[str, list[int]] = {}
    for i, source in enumerate(rows["labeller"]):
        by_source.setdefault(source, []).append(i)
    # which of the two stands first must not be known beforehand: the choice's own index decides it
    first_wins = [choice == 0 for choice in rows["choice"]]
    signed = torch.where(torch.tensor(first_wins), margins, -margins)
    forecasts = (torch.sigmoid(signed).tolist(), first_wins, texts)
    return {
        "comparisons": len(right),
        "texts": len({text for pair in texts for text in pair}),
        "accuracy": by_unit(right, texts)._asdict(),
        "accuracy_by_source": {
            name: by_unit([right[i] for i in own], [texts[i] for i in own])._asdict()
            for name, own in by_source.items()
        },
        "calibration_error": error_by_unit(*forecasts)._asdict(),
        "calibration": [row._asdict() for row in reliability(*forecasts)],
    }


if __name__ == "__main__":
    run_stage("reward", reward, parallel=True)
