"""What came of a run in a few words and numbers: the first screen of the report, the terminal's last lines, DVC."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jokbo.evaluation.evaluation import Evaluation, JudgeResult, JudgeScores, Scores
from jokbo.reporting.tables import DASH, TIMES, Table, large, number, share

if TYPE_CHECKING:
    from jokbo.reporting.report import Findings

MODELS = {
    "base": "pretrained only",
    "supervised": "fine-tuned to respond as people did",
    "distilled": "student of the supervised model",
    "aligned": "after alignment",
}
MEASURES = {
    "perplexity": "Perplexity",
    "kl": "KL, nats",
    "length": "Length",
    "distinct_2": "Distinct-2",
    "reward": "Reward",
}
MADE_BY = {  # of a kind of labeller: who made its comparisons
    "simulated": "made by simulated raters, fitted to single human ratings so that they disagree with one another as "
    "often as the people did; no person read these responses",
    "ratings": "implied by people's ratings of single texts",
    "file": "imported from a file",
    "people": "made by people who compared responses of the supervised policy, blind, on the page of `jokbo label`",
    "ai": "made by a language model, which judged responses of the supervised policy by principles; no person read "
    "these responses",
}


@dataclass(frozen=True)
class Made:
    """When, from what and where a report was made."""

    date: str
    commit: str
    machine: str
    versions: str


def verdict(evaluation: Evaluation) -> str:
    """Return in one sentence whether alignment made responses better, by more than the interval of its wins.

    That is what the main judge says; without a judge, that there is none.
    """
    main = evaluation.main
    if main is None:
        before, after = (number(evaluation.models[name].perplexity) for name in ("supervised", "aligned"))
        return f"No judge was asked: perplexity is {before} before alignment, {after} after"
    supervised, aligned = main.models["supervised"], main.models["aligned"]
    if supervised.good is None or aligned.good is None:
        said = (
            f"{evaluation.headline} prefers {_share(aligned.win_rate)} of responses to those before alignment"
        )
    else:
        said = (
            f"{share(supervised.good)} of responses judged good before alignment, {share(aligned.good)} after"
        )
    if (aligned.win_rate_low or 0) > 0.5:
        return f"It worked: {said}"
    if (aligned.win_rate_high or 0) < 0.5:
        return f"It made things worse: {said}"
    return f"It made no difference that can be measured: {said}"


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
    found = [
        *(_judged_cards(evaluation, evaluation.main) if evaluation.main else []),
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


def _judged_cards(evaluation: Evaluation, judge: JudgeResult) -> list[dict[str, str]]:
    """Return what the main judge says: shares of good responses, where it says which are good, and its wins."""
    before, after = evaluation.models["supervised"], evaluation.models["aligned"]
    supervised, aligned = judge.models["supervised"], judge.models["aligned"]
    shares = {
        "value": f"{_share(supervised.good)} → {_share(aligned.good)}",
        "label": "of responses are judged good, before and after alignment",
        "detail": f"{evaluation.prompts:,} held-out prompts, judged by {evaluation.headline}.{_worst(judge)}",
    }
    wins = {
        "value": _share(aligned.win_rate),
        "label": "of responses are found better than the one before alignment",
        "detail": f"95% interval {_share(aligned.win_rate_low)} to {_share(aligned.win_rate_high)}. Responses have "
        f"{after.length:.1f} tokens, {before.length:.1f} before. Where both are as long within "
        f"{evaluation.matched_tokens} tokens: {length_matched(aligned)} prompts.",
    }
    if judge.probabilities:
        return [shares, wins]
    return [wins | {"detail": f"{wins['detail']} The judge is {evaluation.headline}. {judge.about}"}]


def _worst(judge: JudgeResult) -> str:
    """Return on which texts the judge is least often right; nothing if it was tried on none."""
    tried = [
        (found.right["value"], f"{part} of {source}")
        for source, parts in judge.trust.items()
        for part, found in parts.items()
    ]
    if not tried:
        return ""
    right, texts = min(tried)
    return f" It is right {share(right)} of the time on {texts}, where it does worst: trust the shares, not one score."


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
    aligned, main = evaluation.models["aligned"], evaluation.main
    judged = main and main.models["aligned"]
    found = {
        "good": judged and judged.good,
        "win_rate": judged and judged.win_rate,
        "kl": aligned.kl,
        "length": aligned.length,
        "perplexity": aligned.perplexity,
    }
    return {name: float(f"{value:.4g}") for name, value in found.items() if value is not None}


def models(evaluation: Evaluation) -> Table:
    """Return the models side by side by what a reader asks first; the page and the terminal show it."""
    main, prompts = evaluation.main, f"The same {evaluation.prompts:,} held-out prompts for every model"
    if main is None:
        measures, columns, caption = [*MEASURES], [], prompts
    else:
        measures, columns = ["length", "perplexity"], judged_columns(main)
        caption = f"{prompts}, judged by {evaluation.headline}; 95% intervals in brackets"
    return Table(
        "models",
        caption,
        ["Model", *columns, *(MEASURES[measure] for measure in measures)],
        [
            [
                name,
                *(judged_cells(main, name) if main else []),
                *(number(getattr(scores, measure)) for measure in measures),
            ]
            for name, scores in ordered(evaluation).items()
        ],
    )


def judged_columns(judge: JudgeResult) -> list[str]:
    """Return the names of what a judge says of a model."""
    return [*["Judged good"] * judge.probabilities, "Wins", "Wins at like length"]


def judged_cells(judge: JudgeResult, model: str) -> list[str]:
    """Return what a judge says of a model, as it is printed."""
    scores = judge.models[model]
    good = [interval(scores, "good")] * judge.probabilities
    return [*good, interval(scores, "win_rate"), length_matched(scores)]


def ordered(evaluation: Evaluation) -> dict[str, Scores]:
    """Return the models in the order in which they are made."""
    return {name: evaluation.models[name] for name in MODELS if name in evaluation.models}


def length_matched(scores: JudgeScores) -> str:
    """Return the wins among prompts with responses of like length, and how many those are; a dash for none."""
    shown = interval(scores, "length_matched_win_rate")
    return shown if shown == DASH else f"{shown} of {scores.length_matched:,}"


def interval(scores: JudgeScores, name: str) -> str:
    """Return a share with its interval as it is printed; a dash for none."""
    value, low, high = (getattr(scores, f"{name}{end}") for end in ("", "_low", "_high"))
    return DASH if value is None else f"{share(value)} ({100 * low:.0f}{DASH}{100 * high:.0f})"


def _share(value: float | None) -> str:
    return DASH if value is None else share(value)
