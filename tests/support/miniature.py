"""The whole project in miniature: its own code and graph, on a few hundred made-up reviews, in seconds a stage."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tasks.frame.paths import search_path

ROOT = Path(__file__).parents[2]
GOOD = ["wonderful", "charming", "moving", "brilliant", "funny", "warm", "gripping", "delightful"]
BAD = ["dreadful", "boring", "clumsy", "stupid", "dull", "tedious", "lifeless", "awful"]
THINGS = ["film", "plot", "cast", "score", "ending", "script", "dialogue", "story"]


def build(folder: Path) -> Path:
    """Make the project in `folder`, code and graph copied, data and parameters small."""
    shutil.copytree(ROOT / "jokbo", folder / "jokbo", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "tasks", folder / "tasks", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "flows", folder / "flows", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "profiles", folder / "profiles")
    shutil.copy(ROOT / "dvc.yaml", folder)
    for name in (".dvcignore", ".gitignore"):  # DVC writes what git is to ignore where nobody else has
        shutil.copy(ROOT / name, folder)
    (folder / ".dvc").mkdir()
    shutil.copy(ROOT / ".dvc" / "config", folder / ".dvc")
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    write_reviews(folder / "data/local")
    with open(folder / "params.yaml", "w") as file:
        YAML().dump(params(), file)
    return folder


def write_reviews(local: Path) -> None:
    """Write the made-up reviews, the one source of the miniature, into its folder of the user's own files."""
    local.mkdir(parents=True)
    with open(local / "reviews.jsonl", "w") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows(random.Random(7)))


def add_family(folder: Path) -> Path:
    """Add the optional graph of the family to the project, as it is; returns its folder."""
    made = folder / "family"
    for path in ("dvc.yaml", "params.yaml", ".dvcignore", ".dvc/config"):
        (made / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "family" / path, made / path)
    return made


def add_alignment(folder: Path, *names: str) -> Path:
    """Add the optional graph of PPO and its baselines to the project, with these baselines; returns its folder."""
    made = folder / "alignment"
    for path in ("dvc.yaml", "params.yaml", ".dvcignore", ".dvc/config"):
        (made / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "alignment" / path, made / path)
    tree = YAML(typ="safe").load(made / "params.yaml")
    own = tree["alignment"]["baselines"]
    tree["alignment"]["baselines"] = {name: own[name] | _small(own[name]) for name in names}
    with open(made / "params.yaml", "w") as file:
        YAML().dump(tree, file)
    return made


def _small(own: dict[str, Any]) -> dict[str, Any]:
    return {"batch": 8} if "batch" in own else {}


def rows(draw: random.Random) -> list[dict[str, Any]]:
    made = []
    for label in (0, 1):
        words = GOOD if label else BAD

        def sentence(words: list[str] = words) -> str:
            one, two = draw.sample(words, 2)
            thing, other = draw.sample(THINGS, 2)
            return f"The {thing} was {one} and the {other} seemed {two} to me in {draw.randint(1900, 2020)}."

        made += [
            {
                "text": " ".join(sentence() for _ in range(6)),
                "label": label,
                "source": "imdb",
                "ratings": None,
            }
            for _ in range(120)
        ]
        made += [
            {"text": sentence(), "label": label, "source": "rotten_tomatoes", "ratings": None}
            for _ in range(80)
        ]
        made += [
            {
                "text": sentence(),
                "label": None,
                "source": "icwsm2014-movies",
                "ratings": [draw.choice([1, 2, 3]) * (1 if label else -1) for _ in range(6)],
            }
            for _ in range(80)
        ]
    return made


def params() -> dict[str, Any]:
    with open(ROOT / "params.yaml") as file:
        tree = YAML(typ="safe").load(file)
    tree["compute"] |= {"compile": False, "checkpoint_seconds": 0.0, "workers": 1}
    tree["fetch"]["sources"] = {
        "reviews": {
            "licence": "made up",
            "language": "en",
            "kind": "files",
            "paths": "reviews.jsonl",
            "format": "jsonl",
            "columns": {name: name for name in ("text", "label", "source", "ratings")},
        }
    }
    tree["prepare"]["splits"] = {"train": 0.4, "prompts": 0.2, "validation": 0.1, "test": 0.15, "judge": 0.15}
    tree["prepare"]["quality"]["sources"] = []  # made-up reviews say the same over and over
    tree["tokenize"]["tokenizer"]["vocabulary"] = 320
    tree["pretrain"]["start"] |= {"layers": 2, "hidden_size": 32, "heads": 2, "context": 64}
    tree["prompts"] |= {"prompt_tokens": 6, "response_tokens": 50}
    tree["finetune"]["tasks"]["rotten_tomatoes"]["context"] = 48
    tree["distill"]["layers"] = 1
    labellers = tree["preferences"]["labellers"]
    labellers["raters"] |= {"sources": ["icwsm2014-movies"], "prompts": 16}
    labellers["people"] |= {"sources": ["icwsm2014-movies"], "pairs": 30, "test_pairs": 12}
    tree["reward"]["context"] = 64
    tree["align"] |= {"iterations": 6, "rollout_batch": 8, "minibatch": 4, "epochs": 2, "rollouts_every": 2}
    tree["align"] |= {"value_rollouts": 1, "value_warmup": 1}
    tree["evaluate"] |= {"prompts": 12, "bootstrap": 50}
    small = {"steps": 8, "batch_size": 8, "warmup_steps": 1}
    for section in (
        tree["pretrain"],
        tree["finetune"]["policy"],
        tree["finetune"]["tasks"]["rotten_tomatoes"],
        tree["distill"],
        tree["reward"],
    ):
        section["training"] |= small
    return tree


def environment() -> dict[str, str]:
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("DVC", "MLFLOW", "PREFECT"))
    }
    return {**kept, "PATH": search_path(), "OMP_NUM_THREADS": "1"}


def run(folder: Path, *command: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Return `python -m COMMAND` in the project, to its end; `more` goes into its environment."""
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=folder,
        env={**environment(), **more},
        capture_output=True,
        text=True,
    )


def chain(folder: Path, *, without: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Return what came of the stages of dvc.yaml, `without` some: made as `dvc repro` makes them, and written down in
    dvc.lock, but in processes that were forked (tests/support/forked.py)."""
    with open(folder / "dvc.yaml") as file:
        stages = [name for name in YAML(typ="safe").load(file)["stages"] if name not in without]
    made = run(folder, "tests.support.forked", *(f"tasks.{name}" for name in stages))
    return made if made.returncode else run(folder, "dvc", "commit", "--force", *stages)


def start(folder: Path, *command: str, **more: str) -> subprocess.Popen[str]:
    """Return `python -m COMMAND` in the project, left running; `more` goes into its environment."""
    return subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=folder,
        env={**environment(), **more},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def conversations(draw: random.Random, count: int) -> list[dict[str, Any]]:
    """Return rows with `messages`: one or two questions about a film and their answers, every other with a system."""
    made = []
    for number in range(count):
        turns = [{"role": "system", "content": "Be brief."}] * (number % 2)
        for _ in range(1 + number % 3 // 2):
            thing, word = draw.choice(THINGS), draw.choice(GOOD + BAD)
            turns += [
                {"role": "user", "content": f"How was the {thing} in {draw.randint(1900, 2020)}?"},
                {"role": "assistant", "content": f"The {thing} was {word}."},
            ]
        made.append({"messages": turns})
    return made


def add_conversations(folder: Path) -> Path:
    """Have the project ask its policy in conversations, and in preferences and PPO own prompts from a file."""
    draw = random.Random(8)
    for name, rows_ in (
        ("talk.jsonl", conversations(draw, 300)),
        (
            "own.jsonl",
            [{"prompt": f"Was the {thing} in {year} any good?"} for thing in THINGS for year in range(5)],
        ),
    ):
        with open(folder / "data/local" / name, "w") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows_)
    tree = YAML(typ="safe").load(folder / "params.yaml")
    tree["fetch"]["sources"]["talk"] = {
        "licence": "made up",
        "language": "en",
        "kind": "files",
        "paths": "talk.jsonl",
        "format": "jsonl",
        "columns": {"messages": "messages"},
    }
    tree["tokenize"]["mix"]["sources"]["talk"] = 1.0
    tree["prompts"] = {
        "kind": "conversation",
        "seed": 1,
        "sources": ["talk"],
        "file": "own.jsonl",
        "prompt_tokens": 64,
        "response_tokens": 28,
    }
    tree["pretrain"]["start"]["context"] = tree["reward"]["context"] = 96
    tree["distill"]["prompts_per_text"] = 1
    with open(folder / "params.yaml", "w") as file:
        YAML().dump(tree, file)
    return folder
