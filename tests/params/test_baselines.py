"""alignment/params.yaml as shipped is right, and each mistake in it or beside it is told in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from jokbo import params
from jokbo.params import AlignmentParams
from jokbo.runtime.errors import InputError
from tests.conftest import ROOT

CHAIN, SHIPPED = ROOT / "params.yaml", ROOT / "alignment/params.yaml"


def loaded(
    folder: Path, changes: tuple[str, str] = ("", ""), chain: tuple[str, str] = ("", "")
) -> AlignmentParams:
    for name, path, (old, new) in (("alignment", SHIPPED, changes), ("chain", CHAIN, chain)):
        text = path.read_text()
        assert old in text
        (folder / f"{name}.yaml").write_text(text.replace(old, new, 1) if old else text)
    return params.load_alignment(folder / "alignment.yaml", folder / "chain.yaml")


def test_the_shipped_file_is_right_and_shares_what_ppo_has() -> None:
    found, chain = params.load_alignment(SHIPPED, CHAIN), params.load(CHAIN)
    assert found.alignment.ppo == chain.align
    assert found.alignment.evaluate == chain.evaluate
    assert found.compute == chain.compute
    assert {own.kind for own in found.alignment.baselines.values()} == {
        *("ppo", "best_of_n", "reinforce", "a2c", "a3c", "grpo", "dpo")
    }


def test_each_samples_as_much_as_ppo_or_as_is_asked_for(tmp_path: Path) -> None:
    own = loaded(tmp_path).alignment
    assert own.sampled == own.ppo.rollout_batch * (own.ppo.iterations + own.ppo.value_rollouts)
    assert loaded(tmp_path, ("samples: null", "samples: 640")).alignment.sampled == 640


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("samples: null", "samples: 32", "alignment.samples is 32: alignment.baselines.a2c takes 544"),
        ("samples: null", "sample: 3", "alignment.sample is not a known key: did you mean samples?"),
        ("kind: ppo", "kind: pop", "alignment.baselines.ppo.kind is pop: did you mean ppo?"),
        (
            "kind: grpo, responses_per_prompt: 4",
            "kind: grpo, responses_per_prompt: 3",
            "grpo: responses_per_prompt is 3: it must divide align.rollout_batch, which is 128",
        ),
        (
            "responses_per_prompt: 4, baseline: leave_one_out",
            "responses_per_prompt: 1, baseline: leave_one_out",
            "rloo: responses_per_prompt is 1, but baseline is leave_one_out",
        ),
        (
            "batch: 32, responses_per_prompt: 4",
            "batch: 30, responses_per_prompt: 4",
            "rloo: responses_per_prompt is 4: it must divide batch, which is 30",
        ),
        ("alignment:\n", "compute: {}\nalignment:\n", "compute is in CHAIN alone: remove it here"),
        ("  samples:", "  ppo: {}\n  samples:", "ppo is in CHAIN alone: remove it here"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_key(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(InputError) as raised:
        loaded(tmp_path, (old, new))
    told = str(raised.value).replace(str(tmp_path / "chain.yaml"), "CHAIN")
    assert message in told
    assert told.startswith(str(tmp_path / "alignment.yaml"))
    assert "\n" not in told


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "  pretraining_mix: null",
            "  pretraining_mix: {coefficient: 1.0, sequences: 1, packing: joined}",
            "null",
        ),
        (
            "  rollouts_every: 5",
            "  rollouts_every: 5\n  method: {kind: lora, rank: 4, alpha: 8.0, targets: [all-linear], dropout: 0.0}",
            "align.method.kind is lora in ../params.yaml, but baselines train all weights",
        ),
    ],
)
def test_what_baselines_cannot_share_with_ppo_is_told(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        loaded(tmp_path, chain=(old, new))


def test_a_chain_that_is_aligned_by_dpo_has_no_baselines_of_ppo(tmp_path: Path) -> None:
    text = CHAIN.read_text()
    start = text.index("\nalign:\n")
    end = text.index("\n# How the models are measured")
    training = "training: {steps: 4, batch_size: 4, precision: fp32, warmup_steps: 1, decay_fraction: 0.5, "
    training += (
        "gradient_clip: 1.0, optimizer: {name: adamw, learning_rate: 0.001, adam_learning_rate: 0.001, "
    )
    training += "betas: [0.9, 0.95], weight_decay: 0.0}}"
    dpo = f"\nalign:\n  kind: dpo\n  seed: 1\n  beta: 0.1\n  {training}\n"
    (tmp_path / "chain.yaml").write_text(text[:start] + dpo + text[end:])
    with pytest.raises(InputError, match=r"chain\.yaml: align\.kind is dpo, but the baselines"):
        params.load_alignment(SHIPPED, tmp_path / "chain.yaml")
