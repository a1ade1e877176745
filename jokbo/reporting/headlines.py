"""What came of a run in a few words and numbers: the first screen of the report, the terminal's last lines, DVC."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jokbo.evaluation.results import Evaluation, Scores
from jokbo.reporting.tables import DASH, TIMES, Table, large, number, share

if TYPE_CHECKING:
    from jokbo.reporting.report import Findings

MODELS = {
    "base": "pretrained only",
    "supervised": "fine-tuned on reviews",
    "distilled": "student of the supervised model",
    "aligned": "after alignment",
}
MADE_BY = {  # of a kind of labeller: who made its comparisons
    "simulated": "made by simulated raters, fitted to single human ratings so that they disagree with one another as "
    "often as the people did; no person read these responses",
    "ratings": "implied by people's ratings of single texts",
    "file": "imported from a file",
    "people": "made by people who compared responses of the supervised policy, blind, on the page of `jokbo label`",
}


@dataclass(frozen=True)
class Made:
    """When, from what and where a report was made."""

    date: str
    commit: str
    machine: str
    versions: str


def verdict(evaluation: Evaluation) -> str:
    """Return in one sentence whether alignment made responses more positive, by more than the interval of its wins."""
    supervised, aligned = evaluation.models["supervised"], evaluation.models["aligned"]
    before, after = share(supervised.positive), share(aligned.positive)
    shares = f"{before} of responses judged positive before alignment, {after} after"
    if (aligned.win_rate_low or 0) > 0.5:
        return f"It worked: {shares}"
    if (aligned.win_rate_high or 0) < 0.5:
        return f"It made things worse: {shares}"
    return f"It made no difference that can be measured: {shares}"


def facts(findings: Findings) -> list[tuple[str, str]]:
    """Return when, from what, on what, how large and at what cost, each with its name."""
    made, pretrained = findings.made, findings.metrics["pretrain"]
    minutes = sum(findings.timings.values()) / 60
    size = f"{large(pretrained['parameters'])} parameters, pretrained on {large(pretrained['tokens'])} tokens"
    return [
        ("Made", made.date),
        ("Commit", made.commit),
        ("Machine", made.machine),
        ("Versions", made.versions),
        ("Size", size),
        ("Cost", f"{minutes:.0f} minutes on that machine, all stages together" if minutes else "unknown"),
    ]


def cards(findings: Findings) -> list[dict[str, str]]:
    """Return the few numbers to read first, each with what limits it: `value`, `label`, `detail`."""
    evaluation = findings.evaluation
    before, after = evaluation.models["supervised"], evaluation.models["aligned"]
    trust = evaluation.judge["sentences"]["value"]
    found = [
        {
            "value": f"{share(before.positive)} → {share(after.positive)}",
            "label": "of responses are judged positive, before and after alignment",
            "detail": f"{evaluation.prompts:,} held-out prompts. The judge is a classifier that no stage has seen. On "
            f"texts as short as these it is right {share(trust)} of the time: trust the shares, not one verdict.",
        },
        {
            "value": _share(after.win_rate),
            "label": "of responses are found more positive than the one before alignment",
            "detail": f"95% interval {_share(after.win_rate_low)} to {_share(after.win_rate_high)}. Responses have "
            f"{after.length:.1f} tokens, {before.length:.1f} before. Where both are as long within "
            f"{evaluation.matched_tokens} tokens: {length_matched(after)} prompts.",
        },
        {
            "value": f"{number(before.perplexity)} → {number(after.perplexity)}",
            "label": "perplexity of what people wrote, before and after alignment: lower is better",
            "detail": f"This is what alignment costs. {_share(after.distinct_2)} of word pairs are different ones, "
            f"{_share(before.distinct_2)} before. The model moved {after.kl:.1f} nats a response (KL).",
        },
    ]
    if score := preference_score(findings.metrics):
        right, whose = (
            score["accuracy"],
            "the reward model" if findings.metrics["reward"] else "the aligned model",
        )
        found.append(
            {
                "value": share(right["value"]),
                "label": f"of unseen choices are predicted by {whose}",
                "detail": f"95% interval {share(right['low'])} to {share(right['high'])}: {score['comparisons']:,} "
                f"pairs of {score['texts']:,} texts that it never saw. A coin is right half of the time.",
            }
        )
    return [*found, _student(findings)] if evaluation.student else found


def preference_score(metrics: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Return how well held-out pairs are predicted: by the reward model, or without one by what DPO's policy implies.

    None if no pair is held out for it.
    """
    return metrics["reward"].get("human") or metrics["align"].get("held_out")


def labellers(metrics: Mapping[str, Mapping[str, Any]]) -> list[dict[str, str]]:
    """Return of each labeller what its comparisons are: `name`, `train`, `test`, `made`."""
    return [
        {"name": name, "made": MADE_BY[found["kind"]]}
        | {split: number(found[split]) for split in ("train", "test")}
        for name, found in metrics["preferences"]["labellers"].items()
    ]


def _student(findings: Findings) -> dict[str, str]:
    student, speeds = findings.evaluation.student, findings.speeds
    small, whole = student["student"], student["teacher"]
    smaller = f"{share(1 - small.parameters / whole.parameters)} fewer parameters"
    perplexity = f"perplexity {number(small.perplexity)} against {number(whole.perplexity)}"
    if not speeds:
        return {"value": smaller, "label": "in the distilled model", "detail": f"{perplexity.capitalize()}."}
    faster = speeds["distilled"]["writing"] / speeds["supervised"]["writing"]
    return {
        "value": f"{faster:.1f}{TIMES}",
        "label": "as fast: the distilled model writes, against its teacher",
        "detail": f"It has {smaller}, and {perplexity}.",
    }


def numbers(evaluation: Evaluation) -> dict[str, float]:
    """Return the numbers of the aligned model that runs are compared by."""
    aligned = evaluation.models["aligned"]
    found = {
        "positive": aligned.positive,
        "win_rate": aligned.win_rate,
        "kl": aligned.kl,
        "length": aligned.length,
        "perplexity": aligned.perplexity,
    }
    return {name: float(f"{value:.4g}") for name, value in found.items() if value is not None}


def models(evaluation: Evaluation) -> Table:
    """Return the models side by side by what a reader asks first; the page and the terminal show it."""
    return Table(
        "models",
        f"The same {evaluation.prompts:,} held-out prompts for every model; 95% intervals in brackets",
        ["Model", "Judged positive", "Wins", "Wins at like length", "Length", "Perplexity"],
        [
            [
                name,
                *(interval(scores, measure) for measure in ("positive", "win_rate")),
                length_matched(scores),
                *(number(value) for value in (scores.length, scores.perplexity)),
            ]
            for name, scores in ordered(evaluation).items()
        ],
    )


def ordered(evaluation: Evaluation) -> dict[str, Scores]:
    """Return the models in the order in which they are made."""
    return {name: evaluation.models[name] for name in MODELS if name in evaluation.models}


def length_matched(scores: Scores) -> str:
    """Return the wins among prompts with responses of like length, and how many those are; a dash for none."""
    shown = interval(scores, "length_matched_win_rate")
    return shown if shown == DASH else f"{shown} of {scores.length_matched:,}"


def interval(scores: Scores, name: str) -> str:
    """Return a share with its interval as it is printed; a dash for none."""
    value, low, high = (getattr(scores, f"{name}{end}") for end in ("", "_low", "_high"))
    return DASH if value is None else f"{share(value)} ({100 * low:.0f}{DASH}{100 * high:.0f})"


def _share(value: float | None) -> str:
    return DASH if value is None else share(value)
