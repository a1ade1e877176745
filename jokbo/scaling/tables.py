"""The tables of a fit: the laws' numbers, the exponents of the best size, and how well the largest runs are told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jokbo.reporting.tables import DASH, Table, large, number, percent
from jokbo.scaling.runs import COUNTS

Tree = Mapping[str, Any]
COUNTED = {"parameters": "all parameters", "parameters_without_embeddings": "without embeddings"}
# what the papers found: Hoffmann et al. 2022, table 2 and equation 10; Kaplan et al. 2020, section 1.2 and table 6
PAPERS = {
    "E": "1.69",
    "A": "406.4",
    "B": "410.7",
    "alpha": "0.34",
    "beta": "0.28",
    "N_c": "6.4e13",
    "D_c": "1.8e13",
    "alpha_N": "0.076",
    "alpha_D": "0.103",
    "alpha_C": "0.050",
    "envelope of training curves": "0.50",
    "isoFLOP parabolas": "0.49",
    "parametric loss": "0.46",
}
MEANING = (
    "a is the exponent of the best size: N_opt is proportional to C^a, with C = 6 N D of the parameters that the "
    "column counts. Intervals are of 95%, by the bootstrap over runs: they hold what another draw of such runs would "
    "change, and neither what the law leaves out nor what another text or architecture would change."
)


def tables(tree: Tree) -> list[Table]:
    """Return the tables of a fit (fit.fitted)."""
    counts = [count for count in COUNTS if count in tree["counts"]]
    header = ["", *(COUNTED[count] for count in counts), "paper"]
    own = [tree["counts"][count] for count in counts]
    return [
        Table("laws", _caption(tree), header, _laws(own)),
        Table("exponents", "a of N_opt ~ C^a, by each approach", header, _exponents(own)),
        Table(
            "held_out",
            "The runs of the most FLOPs, told by laws fitted to the others",
            *_held_out(tree, counts),
        ),
    ]


def _caption(tree: Tree) -> str:
    low, high = tree["flops"]
    return (
        f"Laws fitted to {tree['runs']} runs of {tree['sizes']} sizes, {low:.2g} to {high:.2g} FLOPs, with "
        f"{tree['resamples']} resamples"
    )


def _laws(own: list[Tree]) -> list[list[str]]:
    rows = []
    for law, names in {
        "chinchilla": ("E", "A", "B", "alpha", "beta"),
        "kaplan": ("N_c", "D_c", "alpha_N", "alpha_D"),
    }.items():
        title = {"chinchilla": "Hoffmann et al.", "kaplan": "Kaplan et al."}[law]
        rows += [
            [f"{title}: {name}", *(interval(each[law][name]) for each in own), PAPERS[name]] for name in names
        ]
    computed = [interval((each["compute"] or {}).get("alpha_C")) for each in own]
    return [*rows, ["Kaplan et al.: alpha_C", *computed, PAPERS["alpha_C"]]]


def _exponents(own: list[Tree]) -> list[list[str]]:
    return [
        [name, *(interval(each["exponents"][name]) for each in own), PAPERS.get(name, DASH)]
        for name in own[0]["exponents"]
    ]


def _held_out(tree: Tree, counts: list[str]) -> tuple[list[str], list[list[str]]]:
    header = ["law", "parameters", "runs told", "times the FLOPs", "mean error", "bias", "largest error"]
    rows = []
    for count in counts:
        for law, found in tree["counts"][count]["held_out"].items():
            told = [DASH] * 5
            if found:
                shares = (percent(found[key]) for key in ("mean_error", "bias", "largest_error"))
                told = [str(found["runs"]), f"{found['times']:.1f}", *shares]
            rows.append([law, COUNTED[count], *told])
    return header, rows


def interval(found: Tree | None) -> str:
    """Return a number with its interval; a dash where there is none."""
    if found is None:
        return DASH
    return f"{_short(found['value'])} [{_short(found['low'])}, {_short(found['high'])}]"


def _short(value: float) -> str:
    return f"{value:.2e}" if abs(value) >= 1e4 else number(value)


def plan_lines(found: Tree, budget: float) -> list[str]:
    """Return in words what to train for a budget (fit.planned)."""

    def of(key: str) -> str:
        each = found[key]
        return f"{large(each['value'])} [{large(each['low'])}, {large(each['high'])}]"

    loss = found["loss"]
    lines = [
        f"{budget:.3g} FLOPs (6 N D): train {of('parameters')} parameters ({COUNTED[found['count']]}) on "
        f"{of('tokens')} tokens; loss {loss['value']:.3f} [{loss['low']:.3f}, {loss['high']:.3f}] nats a token"
    ]
    lines += [
        f"by {name}: {large(each['parameters'])} parameters on {large(each['tokens'])} tokens"
        for name, each in found["others"].items()
    ]
    if found["beyond"] > 1:
        lines.append(
            f"The budget is {number(found['beyond'])} times that of the largest run: this is an extrapolation, and the "
            "intervals (95%, bootstrap over runs) do not hold what the law leaves out"
        )
    return lines
