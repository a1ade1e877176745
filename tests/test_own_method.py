"""The miniature's chain with every network trained by adapters, from a model that was adopted."""

from __future__ import annotations

import hashlib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from ruamel.yaml import YAML
from transformers import AutoModelForCausalLM

from jokbo import params
from jokbo.params import checks
from jokbo.runtime.errors import InputError
from tests.support import adopted, miniature
from tests.test_resume import STAGES, killed_and_resumed

FOUR_BITS = "qlora" if find_spec("bitsandbytes") else "lora"
PARENTS = {
    "base": "start",
    "policy": "base",
    "tasks/rotten_tomatoes": "base",
    "reward": "policy",
    "aligned": "policy",
}


def tree(dropout: float = 0.1) -> dict[str, Any]:
    made = miniature.params()
    made["tokenize"]["tokenizer"] = {"kind": "model", "maximum_unknown": 0.01}
    made["pretrain"]["start"] = {"kind": "folder", "licence": "MIT", "context": 64, "path": "small"}
    method = {"kind": "lora", "rank": 4, "alpha": 8.0, "targets": ["all-linear"], "dropout": dropout}
    for section in (made["pretrain"], made["finetune"]["policy"], made["distill"], made["reward"]):
        rate = {"name": "adamw", "learning_rate": 0.01, "adam_learning_rate": 0.01}
        section["training"]["optimizer"].update(rate)
        section["training"]["method"] = {**method}
    for task in made["finetune"]["tasks"].values():
        task["training"]["method"] = {**method}
    made["finetune"]["policy"]["training"]["method"] = {**method, "kind": FOUR_BITS}
    made["align"]["method"] = {**method, "targets": ["q_proj", "v_proj"], "dropout": 0.0}
    return made


def written(folder: Path, tree: dict[str, Any]) -> Path:
    with open(folder / "params.yaml", "w") as file:
        YAML().dump(tree, file)
    return folder / "params.yaml"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = miniature.build(tmp_path_factory.mktemp("adapters"))
    adopted.save(folder / "data/local/small")
    written(folder, tree())
    done = miniature.chain(folder)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return folder


def test_every_model_is_plain_and_differs_from_what_it_was_trained_from(project: Path) -> None:
    for name, parent in PARENTS.items():
        made, before = project / "models" / name, project / "models" / parent
        assert (made / "adapter/adapter_model.safetensors").is_file()
        digests = {
            hashlib.sha256((each / "model.safetensors").read_bytes()).digest() for each in (made, before)
        }
        assert len(digests) == 2
    assert not (
        project / "models/student/adapter"
    ).exists()  # the network that it was made from is saved nowhere


def test_an_adapter_is_opened_where_the_project_is(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    merged, beside = (
        AutoModelForCausalLM.from_pretrained(f"models/{name}") for name in ("aligned", "aligned/adapter")
    )
    tokens_BT = torch.arange(40).view(2, 20)
    with torch.no_grad():
        torch.testing.assert_close(beside(tokens_BT).logits, merged(tokens_BT).logits, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("stage", ["align", pytest.param("finetune", marks=pytest.mark.slow)])
def test_killed_once(project: Path, stage: str) -> None:
    killed_and_resumed(project, stage, STAGES[stage], kills=1, seed=1)


def test_targets_are_checked_before_the_first_stage_that_trains(project: Path) -> None:
    made = tree()
    made["reward"]["training"]["method"]["targets"] = ["query"]
    settings = params.load(written(project, made))
    with pytest.raises(
        InputError,
        match=r"^params.yaml: reward.training.method: no linear layer is called query: there are down_proj, gate_proj,",
    ):
        checks.check_methods(settings, ["pretrain", "reward"], project / "models/start")
    checks.check_methods(settings, ["pretrain"], project / "models/start")
    checks.check_methods(
        settings, ["reward"], None
    )  # fetch is to bring another model, which nobody knows yet


@pytest.mark.parametrize(
    ("keys", "value", "told"),
    [
        (("reward", "training", "method", "rank"), 0, "reward.training.method.rank is 0: "),
        (
            ("reward", "training", "method", "kind"),
            "lorra",
            "reward.training.method.kind is lorra: did you mean lora?",
        ),
        (
            ("reward", "training", "method"),
            {"kind": "full", "rank": 4},
            "reward.training.method.rank is not a known key",
        ),
        (
            ("distill", "training", "optimizer", "name"),
            "muon",
            "optimizer.name is muon, but method.kind lora trains",
        ),
        (
            ("reward", "training", "method", "targets"),
            ["all-linear", "q_proj"],
            "targets names all-linear beside others",
        ),
        (
            ("align", "method", "dropout"),
            0.1,
            "method.dropout is 0.1: PPO trains without dropout; set it to 0.0",
        ),
        (
            ("compute", "zero_stage"),
            3,
            "compute.zero_stage is 3, but finetune.policy.training.method.kind is qlora",
        ),
    ],
)
def test_a_method_that_cannot_be_is_refused_in_one_line(
    tmp_path: Path, keys: tuple[str, ...], value: Any, told: str
) -> None:
    made = tree()
    made["finetune"]["policy"]["training"]["method"]["kind"] = "qlora"
    node = made
    for key in keys[:-1]:
        node = node[key]
    node[keys[-1]] = value
    with pytest.raises(InputError) as caught:
        params.load(written(tmp_path, made))
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_fresh_weights_cannot_stay_as_they_are(tmp_path: Path) -> None:
    made = tree()
    made["pretrain"]["start"] = miniature.params()["pretrain"]["start"]
    with pytest.raises(
        InputError, match=r"training.method.kind is lora, but start.kind is scratch: fresh weights"
    ):
        params.load(written(tmp_path, made))


def test_a_trunk_is_not_shared_out_among_ranks(tmp_path: Path) -> None:
    made = tree()
    made["finetune"]["policy"]["training"]["method"]["kind"] = "lora"
    made["compute"]["zero_stage"] = 3
    with pytest.raises(
        InputError, match=r"compute\.zero_stage is 3, but align\.method\.kind is lora: a trunk"
    ):
        params.load(written(tmp_path, made))
