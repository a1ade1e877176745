"""Likelihoods of answers are those of one plain forward pass each, whatever is read together."""

from __future__ import annotations

import pytest
import torch

from jokbo.exporting.opening import Opened
from jokbo.models import access
from jokbo.prompting import likelihoods
from jokbo.prompting.likelihoods import Asked, Encoder, log_likelihoods
from jokbo.runtime.errors import InputError

PROMPTS = ["The film was", "They say the plot was dull in 1950 and", "A", "The film was warm. The score"]
ANSWERS = [" good", " not so good at all", " g", " good and warm"]


def plainly(model: Opened, asked: Asked) -> float:
    """Return an answer's log likelihood by transformers alone."""
    whole = (asked.prompt + asked.answer)[-(access.context(model.network) + 1) :]
    with torch.no_grad():
        log_probs_TV = model.network(torch.tensor([whole[:-1]])).logits[0].double().log_softmax(-1)
    places = range(len(whole) - 1 - len(asked.answer), len(whole) - 1)
    return sum(log_probs_TV[place, whole[place + 1]].item() for place in places)


def asked_of(model: Opened, prompts: list[str]) -> list[Asked]:
    encoder = Encoder(model.tokenizer, access.context(model.network))
    return [encoder.asked(prompt, answer) for prompt in prompts for answer in ANSWERS]


@pytest.mark.parametrize("before", ["", "They say the film was warm, and the score was dull.\n"])
@pytest.mark.parametrize("most", [2**26, 1])
def test_read_together_as_one_by_one(
    model: Opened, before: str, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sequences of many lengths, of which some begin as others do; with and without a common beginning."""
    monkeypatch.setattr(likelihoods, "LOGITS", most)
    asked = asked_of(model, [before + prompt for prompt in PROMPTS])
    assert log_likelihoods(model.network, asked) == pytest.approx(
        [plainly(model, each) for each in asked], abs=1e-4
    )
    for each, found in zip(asked, log_likelihoods(model.network, asked), strict=True):
        assert log_likelihoods(model.network, [each])[0] == pytest.approx(found, rel=1e-5)


def test_what_sequences_have_in_common_is_read_once(model: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    common = "They say the film was warm, and the score was dull.\n" * 2
    asked = asked_of(model, [common + each for each in PROMPTS])
    read: list[int] = []
    plain = type(model.network).forward

    def counted(self, *arguments, **options):
        read.append(options["input_ids"].numel())
        return plain(self, *arguments, **options)

    monkeypatch.setattr(type(model.network), "forward", counted)
    log_likelihoods(model.network, asked)
    together, read[:] = sum(read), []
    for each in asked:
        log_likelihoods(model.network, [each])
    assert together < sum(read) / 2


def test_a_prompt_that_is_too_long_loses_its_beginning(model: Opened) -> None:
    long = ("They say the plot was dull. " * 40).strip()
    asked = asked_of(model, [long, "The film was"])
    encoder = Encoder(model.tokenizer, access.context(model.network))
    assert not encoder.fits(asked[0])
    assert encoder.fits(asked[-1])
    assert log_likelihoods(model.network, asked) == pytest.approx(
        [plainly(model, each) for each in asked], abs=1e-4
    )


def test_white_space_at_the_end_of_a_prompt_is_the_answers(model: Opened) -> None:
    encoder = Encoder(model.tokenizer, access.context(model.network))
    assert encoder.asked("The film was ", "good") == encoder.asked("The film was", " good")


def test_without_a_prompt_an_answer_follows_the_beginning_of_text(model: Opened) -> None:
    asked = Encoder(model.tokenizer, 96).asked("", " good")
    assert asked.prompt == [model.tokenizer.eos_token_id]
    assert model.tokenizer.decode(asked.answer) == " good"


def test_an_answer_that_cannot_be_asked(model: Opened) -> None:
    encoder = Encoder(model.tokenizer, 4)
    with pytest.raises(InputError, match=r"'wonderful wonderful' has .* it needs 1 to 4"):
        encoder.asked("It was", " wonderful wonderful")
