"""`python -m benchmarks.alignment`: does PPO do as well whatever its seed?

Takes the last run of this folder, and for every other seed a DVC experiment that differs from it in align.seed alone
(`dvc exp run`, in a folder of its own; only align and evaluate run). Needs a commit with the dvc.lock of that run.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from typing import Any

from dvc.api import metrics_show

from jokbo import params
from tasks.frame.paths import search_path

STAGE = "metrics/evaluate.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    arguments = parser.parse_args()
    own = params.load().align.seed
    rows = {seed: models(None if seed == own else experiment(seed)) for seed in arguments.seeds}
    columns = (
        "supervised",
        "aligned",
        "gain",
        "tokens",
        "aligned",
        "won",
        "of like length",
        "KL, nats",
        "distinct-2",
    )
    print(
        "judged good, tokens a response, prompts won, KL, and distinct-2 as a share of the supervised policy's"
    )
    print(f"{'seed':>5}" + "".join(f"{column:>15}" for column in columns))
    for seed, row in rows.items():
        supervised, aligned = row["supervised"], row["aligned"]
        numbers = (
            f"{supervised['good']:.3f}",
            f"{aligned['good']:.3f}",
            f"{aligned['good'] - supervised['good']:+.3f}",
            f"{supervised['length']:.1f}",
            f"{aligned['length']:.1f}",
            f"{aligned['win_rate']:.3f}",
            f"{aligned['length_matched_win_rate']:.3f} ({of})"
            if (of := aligned["length_matched"]) > 1
            else "-",
            f"{aligned['kl']:.2f}",
            f"{aligned['distinct_2'] / supervised['distinct_2']:.2f}",
        )
        print(f"{seed:>5}" + "".join(f"{number:>15}" for number in numbers))


def experiment(seed: int) -> str:
    """Run the experiment unless it is there; its name."""
    name = f"align-seed-{seed}"
    dvc = [sys.executable, "-m", "dvc", "exp"]
    known = subprocess.run([*dvc, "list", "--name-only"], check=True, capture_output=True, text=True).stdout
    if name not in known.split():
        command = [*dvc, "run", "--temp", "--name", name, "--set-param", f"align.seed={seed}", "evaluate"]
        subprocess.run(command, check=True, env={**os.environ, "PATH": search_path()})
    return name


def models(revision: str | None) -> dict[str, Any]:
    """Return the numbers of every model, as evaluate left them in this folder or in an experiment."""
    return judged(metrics_show(STAGE, rev=revision))


def judged(found: dict[str, Any]) -> dict[str, Any]:
    """Return the numbers of every model in what evaluate measured, the main judge's among them."""
    judge = found["judges"].get(found["headline"])
    if judge is None or not judge["probabilities"]:
        sys.exit(
            "jokbo: evaluate.judges: the judge of evaluate.headline must be a classifier: name one there"
        )
    return {name: {**scores, **judge["models"][name]} for name, scores in found["models"].items()}


if __name__ == "__main__":
    main()
