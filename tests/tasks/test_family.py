"""Systems of the family as stages: what is left of a run, and that a killed one goes on to the same end."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import transformers
from datasets import Dataset, DatasetDict
from ruamel.yaml import YAML

from jokbo import params
from jokbo.comparison import budget
from jokbo.comparison.pretraining import pretrain, schedule_of
from jokbo.comparison.system import opened
from jokbo.comparison.texts import COUNTS, TASKS
from jokbo.data.corpus import packing
from jokbo.data.corpus.tokenizer import save_tokenizer
from jokbo.runtime.tracking import Run
from jokbo.systems import transformer
from jokbo.training.job import Job
from tasks.frame.paths import FAMILY_DATA, FAMILY_MODELS, FAMILY_RIGHT, METRICS, PLOTS
from tests.support import corpora, miniature

STEPS, BATCH, CONTEXT = 12, 8, 32
LABELS = 40
REVISIONS = [1, 2, 4, 8]
UNIGRAM = 3.5
AUTO = {
    "bert_deep": "AutoModelForPreTraining",
    "distilbert": "AutoModelForMaskedLM",
    "gpt2": "AutoModelForCausalLM",
}


def small(path: Path) -> None:
    """Makes the family's parameters small."""
    yaml = YAML(typ="safe")
    tree = yaml.load(path)
    family = tree["family"]
    family["budget"] = {"by": "tokens", "amount": STEPS * BATCH * CONTEXT}
    family["held_out_batches"] = 2
    family["finetune"] |= {"seeds": [1, 2], "learning_rates": [0.01], "batch_size": 8}
    family["finetune"]["labels"] = [{"count": LABELS, "steps": 24}]
    for name in AUTO:
        own = {"hidden_size": 32, "heads": 2, "context": CONTEXT, "batch_size": BATCH, "dropout": 0.1}
        family["systems"][name] |= own
    with open(path, "w") as file:
        YAML().dump(tree, file)


def add_data(folder: Path) -> None:
    """What the stage family_text leaves in the project of the family, of made-up reviews."""
    draw = random.Random(1)
    rows = miniature.rows(random.Random(7))
    draw.shuffle(rows)
    texts = [row["text"] for row in rows if row["source"] == "imdb"]
    settings = {"normalisation": "nfkc", "lowercase": True}
    tokenizer = corpora.trained(texts, 200, "wordpiece", **settings)
    data = folder / FAMILY_DATA / "wordpiece"
    save_tokenizer(tokenizer, data / "tokenizer")
    for split, some in (("train", texts[:200]), ("validation", texts[200:])):
        encoded = corpora.encoded(folder / "made" / split, [*map(corpora.document, some)], tokenizer)
        end = tokenizer.token_to_id("<|endoftext|>")
        packing.lay_out(encoded, {"a": 1.0}, end, data / split, 100_000)
    labelled = [(row["text"], row["label"]) for row in rows if row["source"] == "rotten_tomatoes"]
    parts = {"train": labelled[:80], "validation": labelled[80:120], "test": labelled[120:]}
    splits = {
        split: Dataset.from_dict({"text": [text for text, _ in some], "label": [label for _, label in some]})
        for split, some in parts.items()
    }
    DatasetDict(splits).save_to_disk(str(folder / FAMILY_DATA / TASKS / "reviews"))
    counts = {"texts": {"wordpiece": {"unigram_entropy": UNIGRAM}}}
    (folder / FAMILY_DATA / COUNTS).write_text(json.dumps(counts))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The family in the miniature, after undisturbed runs of three systems, the teacher before its student."""
    root = miniature.build(tmp_path_factory.mktemp("family"))
    folder = miniature.add_family(root)
    small(folder / "params.yaml")
    add_data(folder)
    ran(folder, "tests.support.forked", *(f"tasks.family {name}" for name in AUTO))
    return folder


def of_code(folder: Path) -> dict[str, str]:
    """What has a stage of the family run with the code of its miniature."""
    return {"PYTHONPATH": os.pathsep.join(map(str, (folder.parent, miniature.ROOT)))}


def ran(folder: Path, *command: str) -> str:
    result = miniature.run(folder, *command, **of_code(folder))
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    return result.stdout


def metrics_of(folder: Path, name: str) -> dict[str, Any]:
    return json.loads((folder / METRICS / "family" / f"{name}.json").read_text())


@pytest.mark.parametrize("name", AUTO)
def test_its_metrics_are_all_there_and_its_model_opens(project: Path, name: str) -> None:
    found = metrics_of(project, name)
    model = getattr(transformers, AUTO[name]).from_pretrained(project / FAMILY_MODELS / name)
    tokenizer = transformers.AutoTokenizer.from_pretrained(project / FAMILY_MODELS / name)
    assert model.config.vocab_size == len(tokenizer)
    assert set(found) == {
        *("title", "year", "objective", "parameters", "steps", "tokens", "flops", "seconds"),
        *("pretraining", "downstream", "extra"),
    }
    assert (found["steps"], found["tokens"]) == (STEPS, STEPS * BATCH * CONTEXT)
    assert found["parameters"] == model.num_parameters()
    assert found["flops"] > found["tokens"] * found["parameters"]
    pretraining = found["pretraining"]
    assert set(pretraining) == {"kind", "before", "nats", "unigram", "copying", "context"}
    assert set(pretraining["context"]) == {"own", "other", "gain", "error"}
    assert pretraining["unigram"] == UNIGRAM
    assert 0 < pretraining["nats"] < pretraining["before"]
    for kind in ("pretrained", "scratch"):
        measured = found["downstream"][str(LABELS)][kind]
        assert set(measured) == {"tasks", "mean", "sd"}
        (task,) = measured["tasks"].values()
        assert set(task) == {"accuracies", "mean", "sd", "validation", "learning_rate"}
        assert len(task["accuracies"]) == 2
        assert (task["mean"], task["sd"]) == (measured["mean"], measured["sd"])
        assert task["learning_rate"] == 0.01
    texts = json.loads((project / FAMILY_RIGHT / f"{name}.json").read_text())["downstream"][str(LABELS)]
    for kind, each in texts.items():
        (right,) = (task["right"] for task in each["tasks"].values())
        shares = [int(digit) / 2 for digit in right]
        (task,) = found["downstream"][str(LABELS)][kind]["tasks"].values()
        assert sum(shares) / len(shares) == pytest.approx(task["mean"])
    with open(project / PLOTS / "family" / f"{name}.csv") as file:
        curve = list(csv.DictReader(file))
    assert [(row["part"], int(row["step"])) for row in curve] == [(name, 1 + step) for step in range(STEPS)]


def test_a_student_begins_with_its_teacher_and_from_scratch_without(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One layer of the teacher's two, and what it has learned."""
    teacher, student = (metrics_of(project, name)["pretraining"] for name in ("bert_deep", "distilbert"))
    assert student["before"] < teacher["before"]
    monkeypatch.chdir(project)
    settings = params.load_family()
    system = opened("distilbert", settings.family, FAMILY_DATA, settings.compute)
    assert system.fresh(1).config.teacher == "models/bert_deep"
    assert system.fresh(1, begins=False).config.teacher is None


def test_revisions_are_at_powers_of_two_and_open(project: Path) -> None:
    found = metrics_of(project, "gpt2")
    assert set(found["extra"]["revisions"]) == set(map(str, REVISIONS))
    folders = sorted((project / FAMILY_MODELS / "gpt2" / "revisions").iterdir())
    assert [folder.name for folder in folders] == [f"step-{step:08d}" for step in REVISIONS]
    for folder in folders:
        transformers.AutoModelForCausalLM.from_pretrained(folder)
    losses = [found["extra"]["revisions"][str(step)] for step in REVISIONS]
    assert losses[0] == pytest.approx(found["pretraining"]["before"], rel=1e-3)  # the first rate is zero
    assert found["pretraining"]["nats"] < losses[-1] < losses[0]
    assert "revisions" not in metrics_of(project, "bert_deep")["extra"]


def test_killed_in_pretraining_and_in_fine_tuning_it_ends_with_the_same_bits(project: Path) -> None:
    def left() -> tuple[dict[str, str], dict[str, Any]]:
        model, metrics = project / FAMILY_MODELS / "gpt2", metrics_of(project, "gpt2")
        metrics.pop("seconds")
        digests = {
            str(path.relative_to(model)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in model.rglob("*.safetensors")
        }
        return digests, metrics

    expected = left()
    assert len(expected[0]) == 1 + len(REVISIONS)
    shutil.rmtree(project / FAMILY_MODELS / "gpt2")
    checkpoints = project.parent / ".jokbo/checkpoints/family@gpt2"
    shutil.rmtree(checkpoints)

    def killed_once(reached: Callable[[], bool]) -> None:
        process = miniature.start(project, "tasks.family", "gpt2", **of_code(project))
        while not reached():
            assert process.poll() is None, process.stdout.read()[-3000:]
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL

    killed_once(lambda: any(int(path.name[5:]) >= 5 for path in checkpoints.glob("*/pretrain/step-*")))
    assert not list(checkpoints.glob("*/*/pretrained"))  # it was at it
    killed_once(lambda: len(list(checkpoints.glob("*/*/pretrained/*.json"))) >= 1)
    done = {path: path.stat().st_mtime_ns for path in checkpoints.glob("*/*/pretrained/*.json")}
    assert len(done) == 1  # of two: so was this
    assert "from step 12" in ran(project, "tasks.family", "gpt2")
    assert left() == expected
    assert all(path.stat().st_mtime_ns == moment for path, moment in done.items())


def test_a_batch_that_grows_takes_the_seconds_of_the_budget(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a step takes some time whatever its rows, as is so of small ones."""
    monkeypatch.chdir(project)
    settings, seconds = params.load_family(), 10.0
    spent = settings.family.budget.model_copy(update={"by": "seconds", "amount": seconds})
    family = settings.family.model_copy(update={"budget": spent})

    def cost(rows: int) -> float:
        return 0.1 + 0.01 * rows

    def seconds_of(objective: torch.nn.Module, batch_at: Callable[[int], Any], *more: Any) -> float:
        return cost(len(next(iter(batch_at(0).values()))))

    monkeypatch.setattr(budget, "seconds_of", seconds_of)
    system = opened("cramming", family, FAMILY_DATA, settings.compute)
    job = Job("family@cramming", family.seed, settings.compute, Run(), tmp_path)
    steps = pretrain(job, system).metrics["steps"]
    assert system.rows_at(0.0) < system.rows_at(1.0) / 2
    shared = replace(system, unit=8)  # of two ranks with micro-batches of four
    assert {shared.rows_at(percent / 100) % 8 for percent in range(101)} == {0}
    assert shared.rows_at(1.0) == system.rows_at(1.0)
    assert sum(cost(system.rows_at(step / steps)) for step in range(steps)) == pytest.approx(
        seconds, rel=0.05
    )


def test_without_a_warm_up_the_rate_begins_at_its_top_and_then_falls_as_it_does_with_one() -> None:
    own = SimpleNamespace(schedule="noam")
    system = SimpleNamespace(own=own, module=transformer, size=SimpleNamespace(hidden_size=128))
    training = SimpleNamespace(steps=50, warmup_steps=10)
    rates = {}
    for warms_up in (True, False):
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        schedule = schedule_of(system, training, warms_up=warms_up)(optimizer)
        rates[warms_up] = []
        for _ in range(50):
            rates[warms_up].append(schedule.get_last_lr()[0])
            optimizer.step()
            schedule.step()
    assert rates[True][:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert rates[False][:10] == pytest.approx([1.0] * 10)
    assert rates[True][10:] == rates[False][10:]
    assert rates[False][39] == pytest.approx(0.5)  # the inverse root of four times the warm-up
