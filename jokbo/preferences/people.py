"""Preferences of people between responses of the policy, given on the page of `jokbo label`: the kind `people`.

The stage samples the responses and publishes them (jokbo.preferences.batch). It stops until enough people have judged
them, and reads their votes when it is run again. It never reads the page's database: what it reads, DVC sees.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import combinations
from typing import TYPE_CHECKING

from jokbo.data.files.files import below_local
from jokbo.data.keys import normalised
from jokbo.data.prompts import Prompts
from jokbo.evaluation import intervals
from jokbo.preferences import aggregated, waiting
from jokbo.preferences.batch import Batch, Item, Vote, batch_file, published, read_votes, votes_file
from jokbo.preferences.forms import FORMS
from jokbo.preferences.judgement import Judgement, pairs_of
from jokbo.preferences.labeller import Given, Labelled, LeftOut
from jokbo.preferences.pairs import Pair, decided
from jokbo.preferences.records import files, records
from jokbo.preferences.responses import prompts_of, sampled
from jokbo.preferences.weights import hash_of
from jokbo.runtime.errors import InputError, Waiting

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from jokbo.evaluation.intervals import Estimated
    from jokbo.params import People


def check(name: str, settings: People) -> None:
    """Raise InputError, one line, for the first thing that is wrong in a file that a labeller names or has votes in."""
    _instructions(name, settings)
    list(_gold(name, settings))
    read_votes(votes_file(name))


def labelled(settings: People, given: Given) -> Labelled:
    """Return people's votes on responses that the policy sampled, some prompts' held out for the test.

    Waiting, one line, as long as there are fewer votes than params.yaml asks for; the items are published by then.
    InputError if there are too few of them at the deadline.
    """
    batch = _batch(settings, given)
    every = read_votes(votes_file(given.name))
    others = sum(vote.batch != batch.id for vote in every)
    answers = waiting.answers(batch, every)
    labels = waiting.labels(batch, settings, answers)
    if not labels.suffice:
        if published(given.name) != batch:
            batch.save(batch_file(given.name))
        raise _too_few(given.name, labels, others)
    judged = [vote for vote in answers if vote.action == "judged"]
    skipped = len(answers) - len(judged)
    pairs = _learned(settings.votes, _pairs(judged, given.name), given)
    train, test = _split(pairs, settings.held_out, given)
    whole = len(batch.asked()) + batch.alike + batch.evaluated
    left_out = {
        "alike": LeftOut(
            batch.alike, whole, "comparisons are of responses that are alike or empty: not asked"
        ),
        "evaluated": LeftOut(
            batch.evaluated, whole, "comparisons are of prompts that models are evaluated on"
        ),
        "missing": LeftOut(labels.missing, labels.needed, "labels were missing at the deadline"),
        "other_responses": LeftOut(others, len(every), "votes are of other responses: not read"),
        "skipped": LeftOut(skipped, len(answers), "answers are no judgement: the person skipped the item"),
    }
    return Labelled(train, test, left_out, _disagreement(judged))


def _too_few(name: str, labels: waiting.Labels, others: int) -> InputError:
    """Return what says that labels are missing: Waiting, or what the user may change when the deadline has passed."""
    of_others = f" ({others:,} votes are of other responses, and do not count)" if others else ""
    said = f"preferences.labellers.{name}: {labels}{of_others}"
    if labels.awaited:
        return Waiting(
            f"{said}: people give them on the page of `jokbo label`; then run the same command again, and it goes on"
        )
    return InputError(f"{said}, and {labels.enough:,} are needed: raise deadline_hours, or lower enough")


def items_of(
    prompts: Sequence[str], responses: Sequence[Sequence[str]], *, rank: bool
) -> tuple[list[Item], int]:
    """Return what to compare, every two responses to a prompt or all of them at once, and how many were left out.

    Responses that are empty or say what another says are left out, for nobody could choose between them.
    """
    found, whole = {}, 0
    for prompt, several in zip(prompts, responses, strict=True):
        kept = list({each.strip(): each for each in reversed(several) if each.strip()}.values())[::-1]
        groups = [several] if rank else list(combinations(several, 2))
        whole += len(groups)
        for group in [kept] if rank else combinations(kept, 2):
            if len(group) > 1:
                item = Item.of(prompt, group)
                found[item.id] = item
    return list(found.values()), whole - len(found)


def _batch(settings: People, given: Given) -> Batch:
    """Return what is asked today: what was published if it is of this policy and these settings, else new responses.

    So another machine, whose last digits differ, asks about the same texts.
    """
    policy, prompts = given.policy(), prompts_of(settings, given)
    key, before = _key(settings, given, policy, prompts), published(given.name)
    if before is None or before.id != key:
        before = _sampled(key, settings, given, policy, prompts)
    return replace(
        before,
        labels_per_item=settings.labels_per_item,
        published=before.published or datetime.now(UTC).isoformat(timespec="seconds"),
        instructions=_instructions(given.name, settings),
        items=[*before.asked(), *_gold(given.name, settings)],
    )


def _sampled(key: str, settings: People, given: Given, policy: PreTrainedModel, prompts: Prompts) -> Batch:
    """Return the batch of new responses, its items in an order of chance."""
    asked, several = sampled(settings, given, policy, prompts)
    items, alike = items_of(asked, several, rank=settings.ask == "rankings")
    evaluated = set(map(normalised, given.evaluated()))
    kept = sorted(
        (item for item in items if normalised(item.prompt) not in evaluated), key=lambda item: item.id
    )
    if not kept:
        raise InputError(
            f"preferences.labellers.{given.name}: no prompt has two different responses that people could compare: ask "
            "for more of them"
        )
    return Batch(key, given.name, settings.labels_per_item, "", kept, alike, len(items) - len(kept))


def _key(settings: People, given: Given, policy: PreTrainedModel, prompts: Prompts) -> str:
    """Return the hash of all that decides what is compared: weights, prompts, seed and sampling."""
    found = hash_of(policy)
    found.update(prompts.prompts_NP.numpy().tobytes())
    sampling = (
        given.seed,
        prompts.response_tokens,
        settings.responses_per_prompt,
        settings.temperature,
        settings.ask,
        given.evaluated(),
    )
    found.update(repr(sampling).encode())
    return found.hexdigest()[:16]


def _instructions(name: str, settings: People) -> str:
    """Return what people are told beforehand. InputError if the file cannot be read."""
    if settings.instructions is None:
        return ""
    key = f"preferences.labellers.{name}.instructions"
    path = below_local(key, settings.instructions, "the text")
    try:
        return path.read_text("utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{key}: {path} cannot be read ({error}): put a UTF-8 text there") from error


def _gold(name: str, settings: People) -> Iterator[Item]:
    """Yield comparisons whose right answer is known. InputError for a file that holds something else."""
    if settings.gold is None:
        return
    form = FORMS["choices"]
    for file in files(settings.gold, f"preferences.labellers.{name}.gold"):
        for found in form.read(records(file, form.columns["prompt"]), form.columns, []):
            if isinstance(found, Judgement):
                yield Item.of(found.prompt, found.responses, [list(group) for group in found.ranking])


def _learned(how: str, pairs: list[Pair], given: Given) -> list[Pair]:
    """Return the pairs that are learned: of every vote, or of every comparison the label of all that was said of it."""
    if how == "all":
        return pairs
    labels = aggregated.given_by(pairs)
    chosen = aggregated.majority(labels)
    if how == "dawid_skene":
        found = aggregated.dawid_skene(labels)
        if found.why_none:
            given.say(
                [f"{given.name}: no model of Dawid and Skene ({found.why_none}): the majority is taken"]
            )
        chosen = found.labels or chosen
    return aggregated.one_of_each(pairs, chosen)


def _split(pairs: Sequence[Pair], held_out: float, given: Given) -> tuple[list[Pair], list[Pair]]:
    """Return the pairs to learn from, and those for the test. InputError if one of them is empty."""
    train, test = [], []
    for pair in pairs:
        (test if given.holds_out(pair["prompt"], held_out) else train).append(pair)
    if not train or (held_out and not any(decided(test))):
        where = "learn from" if not train else "test on: no judgement but ties is held out"
        raise InputError(
            f"preferences.labellers.{given.name}: of {len(pairs):,} pairs none is left to {where}: "
            "change held_out, or ask for more prompts"
        )
    return train, test


def _pairs(votes: Iterable[Vote], source: str) -> list[Pair]:
    """Return a pair of every two responses of each vote. Agreement is the share of votes on these two that say so."""
    found = []
    for vote in votes:
        assert vote.ranking is not None
        judgement = Judgement("", vote.prompt, vote.responses, vote.ranking, vote.labeller, vote.time)
        found += [{**pair, "by_policy": True} for pair in pairs_of(judgement, source)]
    choices = defaultdict(Counter)
    for pair in found:
        choices[pair["prompt"], *pair["responses"]][pair["choice"]] += 1
    for pair in found:
        of_both = choices[pair["prompt"], *pair["responses"]]
        pair["agreement"] = of_both[pair["choice"]] / of_both.total()
    return found


def _disagreement(votes: Sequence[Vote]) -> dict[str, Estimated]:
    """Return how often two people say different things of the same two responses, if enough items have two votes."""
    several = defaultdict(list)
    for pair in _pairs(votes, ""):
        several[pair["prompt"], *pair["responses"]].append(pair["choice"])
    differ = [
        (float(one != other), (key[0],))
        for key, choices in several.items()
        for one, other in combinations(choices, 2)
    ]
    if len({unit for _, unit in differ}) < 2:
        return {}
    values, units = zip(*differ, strict=True)
    return {"human": intervals.by_unit(values, units)._asdict()}
