"""`python -m benchmarks.alignment`: does PPO do as well whatever its seed?

Takes the last run of this folder, and for every other seed a DVC experiment that differs from it in ppo.seed alone
(`dvc exp run`, in a folder of its own; only ppo and evaluate run). Needs a commit with the dvc.lock of that run.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from typing import Any

from dvc.api import metrics_show

from jokbo import params
from tasks.paths import search_path

STAGE = "metrics/evaluate.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    arguments = parser.parse_args()
    own = params.load().ppo.seed
    rows = {seed: systems(None if seed == own else experiment(seed)) for seed in arguments.seeds}
    print(
        f"{'seed':>5}{'supervised':>12}{'aligned':>9}{'gain':>7}{'KL, nats':>10}{'distinct-2, of supervised':>27}"
    )
    for seed, row in rows.items():
        supervised, aligned = row["supervised"], row["aligned"]
        gain, kept = (
            aligned["positive"] - supervised["positive"],
            aligned["distinct_2"] / supervised["distinct_2"],
        )
        print(
            f"{seed:>5}{supervised['positive']:>12.3f}{aligned['positive']:>9.3f}{gain:>+7.3f}"
            f"{aligned['kl']:>10.2f}{kept:>27.2f}"
        )


def experiment(seed: int) -> str:
    """Runs the experiment unless it is there; its name."""
    name = f"ppo-seed-{seed}"
    dvc = [sys.executable, "-m", "dvc", "exp"]
    known = subprocess.run([*dvc, "list", "--name-only"], check=True, capture_output=True, text=True).stdout
    if name not in known.split():
        command = [*dvc, "run", "--temp", "--name", name, "--set-param", f"ppo.seed={seed}", "evaluate"]
        subprocess.run(command, check=True, env={**os.environ, "PATH": search_path()})
    return name


def systems(revision: str | None) -> dict[str, Any]:
    """The numbers of every system, as evaluate left them in this folder or in an experiment."""
    return metrics_show(STAGE, rev=revision)["systems"]


if __name__ == "__main__":
    main()
