"""What the papers claim, and whether it is seen here: by the rule of `verdicts`, from what was measured.

No claim was made of networks this small trained for so short a time. What is not seen here is not refuted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any, NamedTuple

from jokbo.comparison.verdicts import (
    ERRORS,
    MARGIN,
    NOISE,
    NOT_SEEN,
    SEEN,
    UNMEASURED,
    Difference,
    TestRows,
    difference,
    standard_error,
)
from jokbo.reporting.page import large, percent


@dataclass(frozen=True)
class Evidence:
    systems: Mapping[str, Mapping[str, Any]]  # metrics/family/NAME.json by NAME
    test_rows: TestRows  # by task
    majority: Mapping[str, float]  # share of the commoner label among a task's test texts
    gradients: Mapping[
        str, Mapping[str, list[float]]
    ]  # by norm, "post" and "pre", and stack: see measures.py

    def downstream(self, name: str, start: str = "pretrained") -> Mapping[str, Any]:
        return self.systems[name]["downstream"][start]

    def nats(self, name: str) -> float:
        return self.systems[name]["pretraining"]["nats"]


class Finding(NamedTuple):
    figures: str
    verdict: str


@dataclass(frozen=True)
class Claim:
    claim: str
    paper: str  # and where in it
    here: str  # how it is checked
    needs: tuple[str, ...]  # systems
    find: Callable[[Evidence], Finding]


def check(evidence: Evidence) -> list[dict[str, str]]:
    """Of each claim `claim`, `paper`, `here`, `figures` and `verdict`."""
    return [
        {
            "claim": each.claim,
            "paper": each.paper,
            "here": each.here,
            **_found(each, evidence)._asdict(),
        }
        for each in CLAIMS
    ]


def against_scratch(system: Mapping[str, Any], test_rows: TestRows) -> Difference:
    """What pretraining adds to the downstream mean of the same network."""
    return difference(system["downstream"]["pretrained"], system["downstream"]["scratch"], test_rows)


def _found(claim: Claim, evidence: Evidence) -> Finding:
    missing = [name for name in claim.needs if name not in evidence.systems]
    if missing:
        return Finding(f"no metrics of {', '.join(missing)}", UNMEASURED)
    return claim.find(evidence)


def _over(claim: str, paper: str, ours: str, theirs: str) -> Claim:
    def find(evidence: Evidence) -> Finding:
        gain = difference(evidence.downstream(ours), evidence.downstream(theirs), evidence.test_rows)
        means = [percent(evidence.downstream(name)["mean"]) for name in (ours, theirs)]
        cost = [large(evidence.systems[name]["flops"]) for name in (ours, theirs)]
        figures = f"{' against '.join(means)}, for {' and '.join(cost)} FLOPs: {gain}"
        return Finding(figures, gain.verdict)

    return Claim(claim, paper, f"downstream means of {ours} and {theirs}", (ours, theirs), find)


def _scratch(paper: str, name: str) -> Claim:
    """Only of papers that say so; the table has it of every system."""

    def find(evidence: Evidence) -> Finding:
        gain = against_scratch(evidence.systems[name], evidence.test_rows)
        means = [percent(evidence.downstream(name, start)["mean"]) for start in ("pretrained", "scratch")]
        return Finding(f"{' against '.join(means)}: {gain}", gain.verdict)

    claim = f"Pretraining beats the same network from scratch ({name})"
    here = "downstream means, pretrained and from scratch, with the same few labels"
    return Claim(claim, paper, here, (name,), find)


def _keeps(claim: str, paper: str, small: str, large_one: str, share: float) -> Claim:
    """The verdict is on what is kept; a system with no fewer parameters has not shown it either."""

    def find(evidence: Evidence) -> Finding:
        ours, theirs = evidence.downstream(small), evidence.downstream(large_one)
        sizes = [evidence.systems[name]["parameters"] for name in (small, large_one)]
        margin = difference(ours, theirs, evidence.test_rows, share)
        figures = (
            f"keeps {percent(ours['mean'] / theirs['mean'])} with {large(sizes[0])} of {large(sizes[1])} parameters "
            f"({percent(1 - sizes[0] / sizes[1])} fewer); over {share:.0%} of {percent(theirs['mean'])} by {margin}"
        )
        return Finding(figures, margin.verdict if sizes[0] < sizes[1] else NOT_SEEN)

    here = f"downstream mean of {small} less {share:.0%} of that of {large_one}, and parameters"
    return Claim(claim, paper, here, (small, large_one), find)


def _lower_nats(claim: str, paper: str, ours: str, theirs: str) -> Claim:
    def find(evidence: Evidence) -> Finding:
        gain = evidence.nats(theirs) - evidence.nats(ours)
        return Finding(
            f"{evidence.nats(ours):.3f} against {evidence.nats(theirs):.3f} nats a token", _apart(gain)
        )

    return Claim(claim, paper, f"held-out pretraining losses of {ours} and {theirs}", (ours, theirs), find)


def _without_warmup(evidence: Evidence) -> Finding:
    """Seen if leaving out warm-up costs post-norm, and not pre-norm, more than the margin."""
    told, harmed = [], {}
    for norm, name in (("post-norm", "transformer"), ("pre-norm", "transformer_pre")):
        with_it, without = (
            evidence.systems[name]["extra"][f"{way}_warmup"]["nats"] for way in ("with", "without")
        )
        told.append(f"{norm} {with_it:.3f} nats with it, {without:.3f} without")
        harmed[norm] = not without <= with_it + MARGIN  # so that a loss that is no number counts
    if harmed["pre-norm"]:
        return Finding("; ".join(told), NOT_SEEN)
    return Finding("; ".join(told), SEEN if harmed["post-norm"] else NOISE)


def _gradients(evidence: Evidence) -> Finding:
    """Seen if, in the decoder, post-norm's last gradient is the larger, and its spread over depth too."""
    post, pre = (evidence.gradients[norm]["decoder"] for norm in ("post", "pre"))
    spreads = [max(norms) / min(norms) for norms in (post, pre)]
    figures = (
        f"last layer of the decoder {post[-1]:.3g} and {pre[-1]:.3g}; largest over smallest layer "
        f"{spreads[0]:.2g} and {spreads[1]:.2g}"
    )
    return Finding(figures, SEEN if post[-1] > pre[-1] and spreads[0] > spreads[1] else NOT_SEEN)


def _one_unit(evidence: Evidence) -> Finding:
    """Seen if each task's best unit is better than the commoner label and not worse than all units together."""
    units, every = (
        evidence.systems["sentiment_neuron"]["extra"]["unit"],
        evidence.downstream("sentiment_neuron"),
    )
    alone: dict[str, Any] = {
        "tasks": {
            task: {"accuracies": [unit["accuracy"]], "mean": unit["accuracy"]} for task, unit in units.items()
        }
    }
    alone |= {"mean": fmean(unit["accuracy"] for unit in units.values()), "sd": 0.0}
    chance = fmean(evidence.majority[task] for task in units)
    above = Difference(alone["mean"] - chance, standard_error(alone, evidence.test_rows))
    behind = difference(every, alone, evidence.test_rows)
    figures = (
        f"one unit {percent(alone['mean'])}, all units {percent(every['mean'])}, the commoner label {percent(chance)}; "
        f"all units less one: {behind}"
    )
    if above.verdict != SEEN:
        return Finding(figures, above.verdict)
    return Finding(figures, NOT_SEEN if behind.verdict == SEEN else SEEN)


def _apart(gain: float) -> str:
    return NOISE if abs(gain) <= MARGIN else SEEN if gain > 0 else NOT_SEEN


CLAIMS = (
    _scratch("Peters et al. 2018, section 4, table 1", "elmo"),
    _scratch("Howard and Ruder 2018, section 5, figure 3 and table 4", "ulmfit"),
    _scratch("Radford et al. 2018, section 5, table 5", "gpt1"),
    _scratch("Raffel et al. 2020, section 3.1.5, table 1", "t5"),
    _lower_nats(
        "The delta rule writes a better memory than sums do",
        *("Schlag et al. 2021, section 6.3, table 2", "fast_weights", "fast_weights_sum"),
    ),
    Claim(
        "One unit of a byte-level LSTM tells sentiment nearly as well as all of them",
        "Radford et al. 2017, sections 3 and 4",
        f"test accuracy of the unit that is best on training texts: {ERRORS} errors above the commoner label, and not "
        "as far behind a regression on all units",
        ("sentiment_neuron",),
        _one_unit,
    ),
    Claim(
        "Pre-norm trains without warm-up, post-norm needs it",
        "Xiong et al. 2020, sections 3.2 and 4, figures 2 and 4",
        f"held-out loss of the same training with and without warm-up; a cost counts from {MARGIN} nats",
        ("transformer", "transformer_pre"),
        _without_warmup,
    ),
    Claim(
        "At initialisation post-norm's gradients are large near the output, pre-norm's even over depth",
        "Xiong et al. 2020, theorem 1, figure 3",
        "gradient norms by depth, fresh networks on real text (no verdict on noise: the gap is of factors)",
        (),
        _gradients,
    ),
    _over("BERT over GPT", "Devlin et al. 2019, section 4.1, table 1", "bert", "gpt1"),
    _over("RoBERTa over BERT", "Liu et al. 2019, section 5, table 5", "roberta", "bert"),
    _over("XLNet over BERT", "Yang et al. 2019, section 3.2, table 1", "xlnet", "bert"),
    _over("SpanBERT over BERT", "Joshi et al. 2020, section 5", "spanbert", "bert"),
    _keeps(
        "ALBERT keeps 97% of BERT with far fewer parameters (base: 12M of 108M)",
        *("Lan et al. 2020, section 4.3, table 2", "albert", "bert", 0.97),
    ),
    _keeps(
        "DistilBERT keeps 97% of BERT with 40% fewer parameters",
        *("Sanh et al. 2019, section 4, table 1", "distilbert", "bert_deep", 0.97),
    ),
    _over("ELECTRA over BERT at equal compute", "Clark et al. 2020, section 3.3, table 1", "electra", "bert"),
    _over("DeBERTa over RoBERTa", "He et al. 2021, section 5.1.2, table 3", "deberta", "roberta"),
    _over("DeBERTa over BERT", "He et al. 2021, section 5.1.1, table 1", "deberta", "bert"),
    _over(
        "Cramming's recipe over BERT's in the same short budget",
        *("Geiping and Goldstein 2023, section 5, table 3", "cramming", "bert"),
    ),
    _over(
        "Infilling (BART) over a masked span to the decoder (MASS)",
        *("Lewis et al. 2020, section 4.3, table 1", "bart", "mass"),
    ),
    _over(
        "Denoising with an encoder-decoder (T5) over a language model",
        *("Raffel et al. 2020, section 3.2.4, table 2", "t5", "gpt2"),
    ),
)
