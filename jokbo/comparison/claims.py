"""What the papers claim, and whether it is seen here: by the rule of `verdicts`, from what was measured.

A claim on accuracies, of whatever two systems, is on what pretraining adds to each. What they do from scratch, where
one architecture is better than another with so few labels, is no part of it.

No claim was made of networks this small trained for so short a time. What is not seen here is not refuted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
    Result,
    contrast,
    gain,
    gain_over,
    holm,
    judged,
)
from jokbo.reporting.tables import large, percent


@dataclass(frozen=True)
class Evidence:
    systems: Mapping[str, Mapping[str, Any]]  # metrics/family/NAME.json by NAME, with what came of each text
    majority: Mapping[str, float]  # share of the commoner label among a task's test texts
    gradients: Mapping[
        str, Mapping[str, list[float]]
    ]  # by norm, "post" and "pre", and stack: see measures.py
    labels: str  # the number of labels with which claims are checked

    def downstream(self, name: str) -> Mapping[str, Result]:
        """Return the results of a system by what it started from."""
        return self.systems[name]["downstream"][self.labels]

    def nats(self, name: str) -> float:
        return self.systems[name]["pretraining"]["nats"]


class Finding(NamedTuple):
    """What was found of a claim: a verdict, or a difference that gets one when all are known. `unless` is a verdict
    instead of `seen`, where something else speaks against the claim."""

    figures: str
    verdict: str = UNMEASURED
    difference: Difference | None = None
    unless: str | None = None


@dataclass(frozen=True)
class Claim:
    claim: str
    paper: str  # and where in it
    here: str  # how it is checked
    needs: tuple[str, ...]  # systems
    find: Callable[[Evidence], Finding]


def check(evidence: Evidence, claims: Sequence[Claim] | None = None) -> list[dict[str, str]]:
    """Return of each claim `claim`, `paper`, `here`, `figures` and `verdict`.

    Verdicts on accuracies are corrected for their number.
    """
    claims = CLAIMS if claims is None else claims
    found = [_found(each, evidence) for each in claims]
    measured = [index for index, each in enumerate(found) if each.difference]
    corrected = holm([found[index].difference.chance for index in measured])  # pyright: ignore[reportOptionalMemberAccess]
    verdicts = {
        index: _verdict(found[index], chance) for index, chance in zip(measured, corrected, strict=True)
    }
    return [
        {
            "claim": each.claim,
            "paper": each.paper,
            "here": each.here,
            "figures": finding.figures,
            "verdict": verdicts.get(index, finding.verdict),
        }
        for index, (each, finding) in enumerate(zip(claims, found, strict=True))
    ]


def _verdict(finding: Finding, corrected: float) -> str:
    assert finding.difference
    verdict = judged(finding.difference, corrected)
    return finding.unless if finding.unless and verdict == SEEN else verdict


def _found(claim: Claim, evidence: Evidence) -> Finding:
    missing = [name for name in claim.needs if name not in evidence.systems]
    if missing:
        return Finding(f"no metrics of {', '.join(missing)}")
    return claim.find(evidence)


def _over(claim: str, paper: str, ours: str, theirs: str) -> Claim:
    def find(evidence: Evidence) -> Finding:
        both = [evidence.downstream(name) for name in (ours, theirs)]
        gains = [f"{100 * gain(each).value:+.1f}" for each in both]
        means = [percent(each["pretrained"]["mean"]) for each in both]
        cost = [large(evidence.systems[name]["flops"]) for name in (ours, theirs)]
        found = gain_over(*both)
        figures = (
            f"gains of {' and '.join(gains)} points (to {' and '.join(means)}), for {' and '.join(cost)} FLOPs: "
            f"{found}"
        )
        return Finding(figures, difference=found)

    here = f"what pretraining adds to {ours}, less what it adds to {theirs}"
    return Claim(claim, paper, here, (ours, theirs), find)


def _scratch(paper: str, name: str) -> Claim:
    """Return what only papers that say so claim; the table has it of every system."""

    def find(evidence: Evidence) -> Finding:
        results = evidence.downstream(name)
        means = [percent(results[start]["mean"]) for start in ("pretrained", "scratch")]
        found = gain(results)
        return Finding(f"{' against '.join(means)}: {found}", difference=found)

    claim = f"Pretraining beats the same network from scratch ({name})"
    here = "downstream means, pretrained and from scratch, with the same few labels"
    return Claim(claim, paper, here, (name,), find)


def _keeps(claim: str, paper: str, small: str, large_one: str, share: float) -> Claim:
    """Judge what is kept; a system with no fewer parameters has not shown it either."""

    def find(evidence: Evidence) -> Finding:
        ours, theirs = (evidence.downstream(name)["pretrained"] for name in (small, large_one))
        sizes = [evidence.systems[name]["parameters"] for name in (small, large_one)]
        margin = contrast((1, ours), (-share, theirs))
        figures = (
            f"keeps {percent(ours['mean'] / theirs['mean'])} with {large(sizes[0])} of {large(sizes[1])} parameters "
            f"({percent(1 - sizes[0] / sizes[1])} fewer); over {share:.0%} of {percent(theirs['mean'])} by {margin}"
        )
        return Finding(figures, difference=margin, unless=None if sizes[0] < sizes[1] else NOT_SEEN)

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
    """Say "seen" if leaving out warm-up costs post-norm, and not pre-norm, more than the margin."""
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
    """Say "seen" if, in the decoder, post-norm's last gradient is the larger, and its spread over depth too."""
    post, pre = (evidence.gradients[norm]["decoder"] for norm in ("post", "pre"))
    spreads = [max(norms) / min(norms) for norms in (post, pre)]
    figures = (
        f"last layer of the decoder {post[-1]:.3g} and {pre[-1]:.3g}; largest over smallest layer "
        f"{spreads[0]:.2g} and {spreads[1]:.2g}"
    )
    return Finding(figures, SEEN if post[-1] > pre[-1] and spreads[0] > spreads[1] else NOT_SEEN)


def _one_neuron(evidence: Evidence) -> Finding:
    """Say "seen" if each task's best neuron is better than the commoner label and not worse than all together."""
    neurons = evidence.systems["sentiment_neuron"]["extra"]["neuron"]
    every = evidence.downstream("sentiment_neuron")["pretrained"]
    tasks = {
        task: {"accuracies": [neuron["accuracy"]], "right": neuron["right"]}
        for task, neuron in neurons.items()
    }
    alone: dict[str, Any] = {
        "tasks": tasks,
        "mean": fmean(neuron["accuracy"] for neuron in neurons.values()),
        "sd": 0.0,
    }
    chance = fmean(evidence.majority[task] for task in neurons)
    above = Difference(alone["mean"] - chance, contrast((1, alone)).error)
    behind = contrast((1, every), (-1, alone))
    figures = (
        f"one neuron {percent(alone['mean'])}, all {percent(every['mean'])}, the commoner label {percent(chance)}; "
        f"all less one: {behind}"
    )
    return Finding(figures, difference=above, unless=NOT_SEEN if behind.verdict == SEEN else None)


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
        "One neuron of a byte-level LSTM tells sentiment nearly as well as all of them",
        "Radford et al. 2017, sections 3 and 4",
        f"test accuracy of the neuron that is best on training texts: above the commoner label, and not {ERRORS} "
        "errors behind a regression on all neurons",
        ("sentiment_neuron",),
        _one_neuron,
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
