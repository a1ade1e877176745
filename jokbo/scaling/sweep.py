"""A sweep: which runs it is made of, what each is identified by, and the learning rate of each size."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from jokbo.runtime.errors import InputError
from jokbo.scaling import counting
from jokbo.scaling.run import Planned, Row, Text, network_of

if TYPE_CHECKING:
    from jokbo import params

LIBRARY = Path(__file__).parent.parent
# what a run's row is made by, of the library
CODE = (
    "comparison/budget.py",
    "data/corpus",
    "evaluation/perplexity.py",
    "models",
    "scaling/counting.py",
    "scaling/noise.py",
    "scaling/run.py",
    "training",
)
OF_THE_SWEEP = {"sizes", "budgets", "least_steps", "most_epochs", "rates", "bootstrap"}  # not of a run


def searched(settings: params.Scaling) -> list[Planned]:
    """Return the runs that try learning rates."""
    own = settings.rates
    return [
        Planned(f"rate_{size}_{rate:g}", size, own.steps, rate) for size in own.sizes for rate in own.rates
    ]


def rates(settings: params.Scaling, rows: Sequence[Row]) -> dict[str, float]:
    """Return the learning rate of each size, given the rows of `searched`.

    The best rate of a searched size is the lowest point of a parabola through loss over the logarithm of the rate, or
    the best of the rates that were tried, if there is no such point between them. The logarithm of the rate is a linear
    function of that of the hidden size (least squares), kept within the rates that were tried.
    """
    tried = settings.rates
    best = {}
    for size in tried.sizes:
        found = {row["learning_rate"]: row["loss"] for row in rows if row["size"] == size}
        if len(found) < 3:
            raise InputError(
                f"learning rates of {size}: {len(found)} of {len(tried.rates)} runs are there, and three are needed: "
                "run again"
            )
        best[size] = _lowest(np.log(list(found)), np.array(list(found.values())))
    widths = [np.log(settings.sizes[size].hidden_size) for size in best]
    line = np.polynomial.Polynomial.fit(widths, list(best.values()), 1)
    low, high = min(tried.rates), max(tried.rates)
    return {
        name: float(f"{np.clip(np.exp(line(np.log(size.hidden_size))), low, high):.3g}")
        for name, size in settings.sizes.items()
    }


def _lowest(x_R: np.ndarray, loss_R: np.ndarray) -> float:
    """Return where a parabola through the losses is lowest, or where the lowest loss is."""
    at = float(x_R[loss_R.argmin()])
    parabola = np.polynomial.Polynomial.fit(x_R, loss_R, 2).convert()
    linear, square = parabola.coef[1:]
    if square > 0 and x_R.min() < (lowest := float(-linear / (2 * square))) < x_R.max():
        return lowest
    return at


def planned(settings: params.Scaling, text: Text, learning_rates: Mapping[str, float]) -> list[Planned]:
    """Return the runs of the sweep, cheap budgets first. InputError if no size can spend any budget."""
    tokens = settings.batch_size * settings.context
    most = settings.most_epochs * text.open("train").total_tokens / tokens
    found = [
        Planned(f"{size}_{budget:.3g}".replace("+", ""), size, steps, learning_rates[size])
        for budget in sorted(settings.budgets)
        for size, parameters in sizes(settings, text).items()
        if settings.least_steps
        <= (steps := round(budget / counting.flops(parameters["parameters"], tokens)))
        <= most
    ]
    if not found:
        raise InputError(
            f"scaling.budgets: none pays any size for {settings.least_steps} to {most:.0f} steps: give others"
        )
    return found


def sizes(settings: params.Scaling, text: Text) -> dict[str, dict[str, int]]:
    """Return the parameters of each size, counted both ways; no weight is made."""
    vocabulary = text.vocabulary
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        return {
            name: counting.parameters(network_of(settings, name, vocabulary, end=0))
            for name in settings.sizes
        }


def key(run: Planned, settings: params.Scaling, digest: str) -> str:
    """Return the identity of a run: of its settings, its text (`digest`) and the code that makes it."""
    own = settings.model_dump(mode="json", exclude=OF_THE_SWEEP)
    made_of: dict[str, Any] = {
        **own,
        "size": settings.sizes[run.size].model_dump(),
        "steps": run.steps,
        "learning_rate": run.learning_rate,
        "text": digest,
        "code": code(),
    }
    return hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()


def code() -> str:
    """Return the hash of the library's code that makes a row."""
    return digest_of([file for path in CODE for file in _sources(LIBRARY / path)], LIBRARY)


def digest_of(files: Sequence[Path], above: Path) -> str:
    """Return the hash of files: of their names below the folder `above`, and of their bytes."""
    whole = hashlib.sha256()
    for file in files:
        with file.open("rb") as opened:
            found = hashlib.file_digest(opened, "sha256").hexdigest()
        whole.update(f"{file.relative_to(above)} {found}\n".encode())
    return whole.hexdigest()


def _sources(path: Path) -> Iterator[Path]:
    yield from sorted(path.rglob("*.py")) if path.is_dir() else [path]
