from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
import torch
from torch import nn

from jokbo import params
from jokbo.comparison import claims
from jokbo.comparison.extras import extras
from jokbo.comparison.finetuning import Start
from jokbo.comparison.search import Task
from jokbo.comparison.system import OpenedSystem
from jokbo.comparison.verdicts import NOISE, NOT_SEEN, SEEN, UNMEASURED
from jokbo.runtime.tracking import Run
from jokbo.systems import sentiment_neuron
from jokbo.training.job import Job
from tests.comparison import made_up
from tests.comparison.made_up import GRADIENTS, LABELS, MAJORITY, evidence, result, system, systems

OVER = [each for each in claims.CLAIMS if each.here.startswith("what pretraining adds")]


def verdict_of(words: str, found: claims.Evidence) -> str:
    (claim,) = [each for each in claims.check(found) if words in each["claim"]]
    return claim["verdict"]


def test_every_claim_says_whose_it_is_how_it_is_checked_and_what_was_found() -> None:
    found = claims.check(evidence())
    assert len(found) == len(claims.CLAIMS)
    assert all(all(each.values()) for each in found)
    assert len({each["claim"] for each in found}) == len(found)
    verdicts = {SEEN, NOT_SEEN, NOISE}
    assert {each["verdict"] for each in found} <= verdicts


@pytest.mark.parametrize("claim", OVER, ids=lambda claim: "-".join(claim.needs))
def test_one_system_over_another(claim: claims.Claim) -> None:
    """By what pretraining adds to each: a network that is better from scratch, too, has shown nothing."""
    ours, theirs = claim.needs
    for pretrained, scratch, verdict in (
        (0.85, 0.65, SEEN),
        (0.85, 0.75, NOISE),
        (0.751, 0.65, NOISE),
        (0.65, 0.65, NOT_SEEN),
    ):
        changed = evidence(**{ours: system(ours, pretrained, scratch), theirs: system(theirs, 0.75, 0.65)})
        (found,) = claims.check(changed, [claim])
        assert found["verdict"] == verdict
        assert f"gains of {100 * (pretrained - scratch):+.1f} and +10.0 points" in found["figures"]


def test_a_claim_that_is_seen_alone_is_not_among_many() -> None:
    """Verdicts are corrected for how many claims there are: 2.2 errors are too few for one of twenty."""
    (claim,) = [each for each in OVER if each.needs == ("roberta", "bert")]
    for pretrained in np.arange(0.75, 0.8, 0.0005):
        changed = evidence(roberta=system("roberta", float(pretrained), 0.65))
        difference = claim.find(changed).difference
        assert difference is not None
        if 2.1 < difference.value / difference.error < 2.4:
            break
    else:
        pytest.fail("no such difference")
    assert claims.check(changed, [claim])[0]["verdict"] == SEEN
    assert verdict_of("RoBERTa over BERT", changed) == NOISE


def test_what_is_missing_is_named_and_not_judged() -> None:
    whole = evidence()
    without = {name: found for name, found in whole.systems.items() if name != "electra"}
    found = claims.check(claims.Evidence(without, MAJORITY, GRADIENTS, LABELS))
    (missing,) = [each for each in found if each["verdict"] == UNMEASURED]
    assert missing["claim"].startswith("ELECTRA")
    assert missing["figures"] == "no metrics of electra"


@pytest.mark.parametrize(
    ("mean", "parameters", "verdict"),
    [
        (0.80, 600_000, SEEN),
        (0.80, 1_000_000, NOT_SEEN),  # as large as its teacher
        (0.73, 600_000, NOISE),
        (0.60, 600_000, NOT_SEEN),
    ],
)
def test_keeping_97_percent_needs_fewer_parameters_too(mean: float, parameters: int, verdict: str) -> None:
    assert (
        verdict_of("DistilBERT", evidence(distilbert=system("distilbert", mean) | {"parameters": parameters}))
        == verdict
    )


@pytest.mark.parametrize(
    ("post", "pre", "verdict"),
    [
        (6.4, 4.61, SEEN),
        (float("nan"), 4.61, SEEN),  # it fell apart
        (4.61, 4.61, NOISE),  # warm-up was not needed
        (6.4, 6.0, NOT_SEEN),
        (6.4, float("nan"), NOT_SEEN),
    ],
)
def test_warm_up(post: float, pre: float, verdict: str) -> None:
    changed = {}
    for name, without in (("transformer", post), ("transformer_pre", pre)):
        extra = {"with_warmup": {"nats": 4.6}, "without_warmup": {"nats": without}}
        changed[name] = system(name) | {"extra": extra}
    assert verdict_of("without warm-up", evidence(**changed)) == verdict


@pytest.mark.parametrize(
    ("neuron", "every", "verdict"),
    [(0.74, 0.75, SEEN), (0.65, 0.75, NOT_SEEN), (0.545, 0.55, NOISE), (0.45, 0.46, NOT_SEEN)],
)
def test_one_neuron_is_better_than_the_commoner_label_and_not_far_behind_all(
    neuron: float, every: float, verdict: str
) -> None:
    changed = system("sentiment_neuron", every)
    changed["downstream"][LABELS]["pretrained"] = result(every, seeds=1)
    changed["extra"] = {"neuron": made_up.neuron(neuron)}
    assert verdict_of("One neuron", evidence(sentiment_neuron=changed)) == verdict


def test_one_neuron_is_judged_by_what_its_stage_leaves() -> None:
    """On a task whose labels its one neuron holds."""
    rng = torch.Generator().manual_seed(1)
    tasks = []
    for name, rows in made_up.TEST_ROWS.items():
        labels = {split: torch.randint(2, (rows,), generator=rng) for split in ("train", "test")}
        tasks.append(Task(name, {split: some[:, None] for split, some in labels.items()}, labels, padding=0))
    own = SimpleNamespace(neuron=True, last=False, revisions=False, schedule="trapezoid")
    opened = cast(OpenedSystem, SimpleNamespace(own=own, module=sentiment_neuron))
    job = Job("family", 1, params.load().compute, Run(), checkpoints=None)
    found = extras(job, opened, tasks, Start(nn.Identity(), lambda tokens_NT: tokens_NT.double()), steps=1)
    changed = systems()["sentiment_neuron"] | {"extra": found}
    assert verdict_of("One neuron", evidence(sentiment_neuron=changed)) == SEEN


@pytest.mark.parametrize(("delta", "verdict"), [(3.9, SEEN), (3.97, NOISE), (4.1, NOT_SEEN)])
def test_the_delta_rule_is_judged_by_a_margin_of_nats(delta: float, verdict: str) -> None:
    changed = {
        "fast_weights": system("fast_weights", nats=delta),
        "fast_weights_sum": system("fast_weights_sum"),
    }
    assert verdict_of("delta rule", evidence(**changed)) == verdict


@pytest.mark.parametrize(
    ("pre", "verdict"),
    [
        ([0.3, 0.3, 0.4], SEEN),
        ([0.1, 0.3, 1.3], NOT_SEEN),  # smaller at the end, and less even
        ([1.4, 1.4, 1.5], NOT_SEEN),  # even, and larger
    ],
)
def test_gradients_have_to_be_larger_and_less_even_after_the_sum(pre: list[float], verdict: str) -> None:
    gradients = {"post": GRADIENTS["post"], "pre": {"encoder": pre, "decoder": pre}}
    found = claims.Evidence(systems(), MAJORITY, gradients, LABELS)
    assert verdict_of("At initialisation", found) == verdict


def test_pretraining_against_scratch_is_of_the_same_system() -> None:
    changed = evidence(gpt1=system("gpt1", pretrained=0.6, scratch=0.7))
    assert verdict_of("from scratch (gpt1)", changed) == NOT_SEEN
    assert verdict_of("from scratch (elmo)", changed) == SEEN
