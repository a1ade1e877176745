"""Preferences of a language model between responses of the policy: the kind `ai` (Bai et al. 2022, section 4).

The judge is any causal model but the policy itself. What it says of each pair, and how far it can be believed, is
jokbo.feedback's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from jokbo.data.conversations.chat import special_tokens
from jokbo.data.files.files import below_local
from jokbo.data.keys import digest, normalised
from jokbo.feedback import constitution, question, trust
from jokbo.feedback.judge import Judge
from jokbo.feedback.question import Questions
from jokbo.feedback.trust import Agreement
from jokbo.feedback.verdicts import Method, Unjudged, Verdict
from jokbo.feedback.verdicts import Pair as Shown
from jokbo.preferences.labeller import Given, Labelled, LeftOut
from jokbo.preferences.pairs import Pair, decided
from jokbo.preferences.people import items_of
from jokbo.preferences.responses import prompts_of, sampled
from jokbo.preferences.weights import hash_of
from jokbo.runtime.errors import InputError
from jokbo.start import adopt

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from jokbo.params import AiJudge

WHY = {
    Unjudged.NEITHER: "pairs have no verdict: the judge answers neither A nor B",
    Unjudged.TOO_LONG: "pairs are longer than the judge's context: not asked",
    Unjudged.SPECIAL: "pairs spell a special token of the judge: not asked",
}


def check(name: str, settings: AiJudge) -> None:
    """Raise InputError, one line, for the first thing that is wrong in a file that a labeller names."""
    key = f"preferences.labellers.{name}"
    constitution.comparisons(_file(f"{key}.constitution", settings.constitution, constitution.OURS))
    Questions.of(_file(f"{key}.template", settings.template, question.OURS))
    if settings.judge.kind == "folder":
        adopt.check_folder(settings.judge, f"{key}.judge")


def labelled(settings: AiJudge, given: Given) -> Labelled:
    """Return what the judge prefers of the policy's responses, some prompts' pairs held out for the test."""
    policy = given.policy()
    method = _method(settings, given, policy)
    asked, several = sampled(settings, given, policy, prompts_of(settings, given))
    items, alike = items_of(asked, several, rank=False)
    evaluated = set(map(normalised, given.evaluated()))
    kept = [item for item in items if normalised(item.prompt) not in evaluated]
    if not kept:
        raise InputError(
            f"preferences.labellers.{given.name}: no prompt has two different responses: ask for more of them"
        )
    pairs = [Shown(_plain(item.prompt, given), *item.responses) for item in kept]
    given.say([f"{given.name} judges {len(pairs):,} pairs, each in both orders"])
    verdicts = method.verdicts(pairs)
    method.check(pairs, verdicts)
    found = trust.measured(pairs, verdicts)
    first = f", what is shown first wins {found.first['value']:.0%} of verdicts" if found.first else ""
    given.say([f"{given.name}: {found.ties:.0%} of {found.judged:,} pairs that it judged are ties{first}"])
    who = "models/base" if settings.judge.kind == "base" else adopt.source(settings.judge)
    rows = [
        _row(item.prompt, item.responses, verdict, who, given.name)
        for item, verdict in zip(kept, verdicts, strict=True)
        if isinstance(verdict, Verdict)
    ]
    train, test = _split(rows, settings.held_out, given)
    why = Counter(each for each in verdicts if isinstance(each, Unjudged))
    whole = len(items) + alike
    left_out = {
        "alike": LeftOut(alike, whole, "pairs of responses are alike or have an empty one: not asked"),
        "evaluated": LeftOut(
            len(items) - len(kept), whole, "pairs are of prompts that models are evaluated on"
        ),
        **{each.value: LeftOut(why[each], whole, what) for each, what in WHY.items()},
    }
    agreement = _with_others(method, settings.compared, given)
    return Labelled(train, test, left_out, trust=replace(found, agreement=agreement))


def _method(settings: AiJudge, given: Given, policy: PreTrainedModel) -> Method:
    """Return how the judge is asked. InputError if it is the policy, or if it cannot be asked."""
    key = f"preferences.labellers.{given.name}"
    network, tokenizer = given.judge(settings.judge, f"{key}.judge")
    if hash_of(network).digest() == hash_of(policy).digest():
        raise InputError(
            f"{key}.judge has the very weights of the policy, whose responses it would judge: name another model"
        )
    return Method(
        judge=Judge(network, tokenizer, settings.chat, key),
        questions=Questions.of(_file(f"{key}.template", settings.template, question.OURS)),
        principles=constitution.comparisons(
            _file(f"{key}.constitution", settings.constitution, constitution.OURS)
        ),
        thought=settings.chain_of_thought,
        minimum_mass=settings.minimum_mass,
        seed=given.seed,
    )


def _file(key: str, named: str | None, ours: Path) -> Path:
    return ours if named is None else below_local(key, named, "the file")


def _plain(prompt: str, given: Given) -> str:
    """Return a prompt without the special tokens that the policy's chat template writes."""
    for token in special_tokens(given.tokenizer):
        prompt = prompt.replace(token, "")
    return prompt


def _row(prompt: str, responses: Sequence[str], verdict: Verdict, who: str, source: str) -> Pair:
    return {
        "prompt": prompt,
        "responses": list(responses),
        "choice": verdict.choice,
        "labeller": who,
        "time": None,
        "source": source,
        "agreement": 1.0,
        "by_policy": True,
        "probability": verdict.probability,
    }


def _split(rows: Sequence[Pair], held_out: float, given: Given) -> tuple[list[Pair], list[Pair]]:
    """Return the pairs to learn from and for the test, by prompt. InputError if either has none that is no tie."""
    train, test = [], []
    for row in rows:
        (test if given.holds_out(row["prompt"], held_out) else train).append(row)
    for part, name in ((train, "learn from"), *([(test, "test on")] if held_out else [])):
        if not decided(part):
            raise InputError(
                f"preferences.labellers.{given.name}: of {len(rows):,} pairs none but ties is left to {name}: ask for "
                "more prompts, change held_out, or name another judge"
            )
    return train, test


def _with_others(method: Method, most: int, given: Given) -> Mapping[str, Agreement]:
    """Return how often the judge agrees with each labeller before it, on up to so many pairs of that one.

    Pairs that no stage learns from come first; a hash decides which.
    """
    found = {}
    for name, other in given.others.items():
        rows = trust.preferred(other.test) or trust.preferred(other.train)
        chosen = sorted(rows, key=lambda pair: digest("\0".join(pair), given.seed))[:most]
        if chosen:
            given.say([f"{given.name} judges {len(chosen):,} pairs of {name}"])
            shown = [pair._replace(prompt=_plain(pair.prompt, given)) for pair in chosen]
            verdicts = dict(zip(chosen, method.verdicts(shown), strict=True))
            found[name] = trust.agreed({pair: rows[pair] for pair in chosen}, verdicts)
    return found
