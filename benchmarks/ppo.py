"""`python -m benchmarks.ppo`: what each of PPO's switches does, over three seeds, a row a switch.

The run of a switch and a seed is a project of its own, .jokbo/ppo/SWITCH-SEED. It has this one's code and parameters
but for align.seed and the switch. All share the DVC cache, so only `align` and `evaluate` run. A run that was stopped
goes on. `--last` prints what is there and runs nothing. `--small` does the same in the miniature of the tests, to see
that it works: its figures say nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.alignment import judged
from flows.command import one_line
from flows.profile import bring_up, lay_out
from jokbo import params
from jokbo.data.fetch.sources import LOCAL
from jokbo.runtime.errors import InputError
from tasks.frame.paths import METRICS, STATE

FOLDER = STATE / "ppo"  # a project a switch and seed
OFF = {
    "value_layers": None,
    "gae_lambda": 0.95,
    "gae_alpha": None,
    "value_lambda": None,
    "value_warmup": 0,
    "pretraining_mix": None,
    "reward_centre": None,
    "novelty": 0.0,
}
WARMUP, OWN_LAMBDA = {"value_warmup": 3}, {"value_lambda": 1.0}
BY_LENGTH = {"gae_lambda": None, "gae_alpha": 1.0}  # a response of 20 tokens gets the lambda 0.95
SWITCHES: Mapping[str, Mapping[str, Any]] = {
    "none": {},
    "half-the-value": {"value_layers": 1},  # of two layers
    "value-warmup": WARMUP,
    "value-lambda-1": OWN_LAMBDA,
    "lambda-by-length": BY_LENGTH,
    "centred-reward": {"reward_centre": 2.0},
    "novelty": {"novelty": 2.0},
    "all-of-vapo": {**WARMUP, **OWN_LAMBDA, **BY_LENGTH},
    "pretraining-mix": {"pretraining_mix": {"coefficient": 0.5, "sequences": 1}},
}
COLUMNS = {  # what `figures` finds -> the head of its column
    "good": "judged good",
    "win_rate": "won",
    "length_matched_win_rate": "won, like length",
    "kl": "KL, nats",
    "length": "tokens",
    "distinct_2": "distinct-2, share",
    "perplexity": "perplexity",
    "explained_variance": "explained variance",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument(
        "--switches", nargs="+", choices=SWITCHES, default=list(SWITCHES), help="not given: all"
    )
    parser.add_argument("--last", action="store_true", help="print what is there")
    parser.add_argument("--small", action="store_true", help="in the miniature of the tests")
    options = parser.parse_args()
    with one_line():
        if options.small:
            _enter_miniature()
        own = params.read(Path("params.yaml"))
        if own["align"].get("kind") != "ppo":
            raise InputError("params.yaml: align.kind: this benchmark is of ppo")
        for switch in options.switches if not options.last else ():
            for seed in options.seeds:
                lay_out(folder_of(switch, seed), switched(own, switch, seed))
                bring_up(folder_of(switch, seed), "evaluate")
        show(options.seeds)


def switched(own: Mapping[str, Any], switch: str, seed: int) -> dict[str, Any]:
    """Return this project's parameters with this seed of `align`, this switch on and the others off."""
    changes = {
        key: dict(value) if isinstance(value, dict) else value for key, value in SWITCHES[switch].items()
    }
    if "pretraining_mix" in changes:
        changes["pretraining_mix"]["packing"] = own["pretrain"]["packing"]
    return {**own, "align": {**own["align"], **OFF, **changes, "seed": seed}}


def folder_of(switch: str, seed: int) -> Path:
    """Return the project of a switch and a seed."""
    return FOLDER / f"{switch}-{seed}"


def figures(folder: Path) -> dict[str, float]:
    """Return what the run in a folder came to, by the names of COLUMNS; what was not measured is left out."""
    read = {
        name: json.loads((folder / METRICS / f"{name}.json").read_text()) for name in ("align", "evaluate")
    }
    models = judged(read["evaluate"])
    found = models["aligned"] | {
        "distinct_2": models["aligned"]["distinct_2"] / models["supervised"]["distinct_2"],
        "explained_variance": read["align"]["explained_variance"]["last"],
    }
    if found["length_matched"] <= 1:
        del found["length_matched_win_rate"]
    return {name: found[name] for name in COLUMNS if name in found}


def rows(seeds: list[int]) -> dict[str, list[str]]:
    """Return a row for each switch that has a run: of each column the mean over seeds, the least and the largest."""
    made = {}
    for switch in SWITCHES:
        there = [folder_of(switch, seed) for seed in seeds]
        found = [figures(each) for each in there if (each / METRICS / "evaluate.json").is_file()]
        if found:
            cells = [[each[name] for each in found if name in each] for name in COLUMNS]
            made[switch] = [str(len(found)), *map(_cell, cells)]
    return made


def _cell(values: list[float]) -> str:
    if not values:
        return "-"
    return f"{sum(values) / len(values):.3f} ({min(values):.3f} to {max(values):.3f})"


def show(seeds: list[int]) -> None:
    """Print the table; a switch without a run is not in it."""
    table = Table("switch", "seeds", *COLUMNS.values())
    for switch, cells in rows(seeds).items():
        table.add_row(switch, *cells)
    Console(width=200).print(table)


def _enter_miniature() -> None:
    """Make this process one of the miniature project, with this one's code as it stands."""
    from tests.support import miniature

    folder = FOLDER / "small"
    lay_out(folder, miniature.params())
    shutil.rmtree(folder / LOCAL)  # none of the user's own text
    miniature.write_reviews(folder / LOCAL)
    os.chdir(folder)


if __name__ == "__main__":
    main()
