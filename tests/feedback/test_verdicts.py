"""What a judge's log-probabilities become: probabilities by hand, both orders, ties, what is left out."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from transformers import AutoModelForCausalLM

from jokbo.feedback.judge import Judge
from jokbo.feedback.verdicts import Pair, Unjudged, Verdict
from jokbo.runtime.errors import InputError
from tests.feedback.planted import KEY, WORDS, Planted, method, tokenizer
from tests.support import adopted

CLEAR, ALIKE = Pair("w1 w2", "good w3", "bad"), Pair("w1", "w4 w5 w6", "w7")
CHAT = "{% for m in messages %}{{ m.role }} : {{ m.content }}{% endfor %}{% if add_generation_prompt %} w9 {% endif %}"


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def said(found: list[Verdict | Unjudged]) -> list[Verdict]:
    assert all(isinstance(each, Verdict) for each in found)
    return [each for each in found if isinstance(each, Verdict)]


def test_what_is_worth_more_wins_by_a_known_probability_in_both_orders() -> None:
    pairs = [CLEAR, CLEAR._replace(first="bad", second="good w3")]
    one, other = said(method(Planted({"good": 1.5, "bad": -0.5})).verdicts(pairs))
    assert one.orders == pytest.approx((sigmoid(2), sigmoid(2)))
    assert (one.choice, one.probability) == (0, pytest.approx(sigmoid(2)))
    assert (other.choice, other.probability) == (1, pytest.approx(sigmoid(-2)))
    assert one.mass == pytest.approx(1)


def test_a_love_of_the_first_place_moves_both_orders_apart_and_their_mean_is_kept() -> None:
    (found,) = said(method(Planted({"good": 1.0}, love=0.7)).verdicts([CLEAR]))
    assert found.orders == pytest.approx((sigmoid(1.7), sigmoid(0.3)))
    assert found.probability == pytest.approx((sigmoid(1.7) + sigmoid(0.3)) / 2)
    assert found.choice == 0


def test_a_verdict_that_flips_with_the_order_is_a_tie() -> None:
    flips, even = said(method(Planted({"good": 1.0}, love=3.0)).verdicts([CLEAR, ALIKE]))
    assert flips.orders == pytest.approx((sigmoid(4), sigmoid(-2)))
    assert (flips.choice, even.choice) == (None, None)
    assert flips.probability == pytest.approx((sigmoid(4) + sigmoid(-2)) / 2)
    assert even.probability == pytest.approx(0.5)


def test_what_is_even_is_a_tie() -> None:
    (found,) = said(method(Planted({})).verdicts([CLEAR]))
    assert (found.choice, found.probability) == (None, 0.5)


def test_probability_is_softmax_over_the_letter_with_and_without_a_space(tmp_path: Path) -> None:
    """By hand, from the network's own logits of one sequence at a time."""
    reads = adopted.tokenizer("<unk>", "</s>", " A", unk_token="<unk>", eos_token="</s>", pad_token="<unk>")
    network = AutoModelForCausalLM.from_pretrained(
        adopted.save(tmp_path, reads, max_position_embeddings=600), dtype=torch.float32
    )
    asked = method(network, reads, minimum_mass=0.0)
    pairs = [Pair("The film", " was wonderful and warm", " was dull"), Pair("", "warm", "dull in 1950")]
    tokens = {
        letter: [reads.convert_tokens_to_ids(each) for each in spelt]
        for letter, spelt in (("A", ["A", " A"]), ("B", ["B"]))
    }
    assert asked.judge.letters == [sorted(tokens["A"]), sorted(tokens["B"])]
    for pair, verdict in zip(pairs, said(asked.verdicts(pairs)), strict=True):
        by_hand = []
        for a, b in ((pair.first, pair.second), (pair.second, pair.first)):
            (question,) = {
                asked.questions.ask(prompt=pair.prompt, first=a.strip(), second=b.strip(), principle=each)
                for each in asked.principles
                if each in asked_text(asked, pair)
            }
            ids = reads(f"{question.text}\n\nAnswer:", add_special_tokens=False)["input_ids"]
            with torch.no_grad():
                shares_V = network(torch.tensor([ids])).logits[0, -1].softmax(-1)
            of = [shares_V[tokens[letter]].sum().item() for letter in "AB"]
            by_hand.append((of[0] / sum(of), sum(of)))
        (as_a, mass), (as_b, other_mass) = by_hand
        assert verdict.orders == pytest.approx((as_a, 1 - as_b), rel=1e-4)
        assert verdict.mass == pytest.approx(min(mass, other_mass), rel=1e-4)


def asked_text(asked, pair: Pair) -> str:
    """The question of a pair, read back from its tokens."""
    return asked.judge.tokenizer.decode(asked._asked(pair)[0].tokens)


def test_a_pair_says_the_same_whatever_stands_beside_it() -> None:
    network = Planted({"good": 1.0, "w3": 0.25}, love=0.5)
    many = [Pair(f"w{i}", "good " * (i % 7), f"w3 w{i}") for i in range(40)]
    alone = [method(network).verdicts([pair])[0] for pair in many]
    assert method(network).verdicts(many) == alone


def test_a_judge_that_says_neither_is_counted_and_of_all_pairs_refused() -> None:
    asked = method(
        Planted({"good": 9.0}, others=-1.0)
    )  # so sure where there is a good one that others have no room
    found = asked.verdicts([CLEAR, ALIKE])
    assert isinstance(found[0], Verdict)
    assert found[1] is Unjudged.NEITHER
    asked.check([CLEAR, ALIKE], found)
    with pytest.raises(InputError) as caught:
        asked.check([ALIKE], found[1:])
    assert str(caught.value) == (
        f"{KEY}: of 1 pairs it judges none: in 1 A and B together have a probability below minimum_mass, 0.1: name "
        "another judge, or a template that it answers with a letter"
    )


def test_the_mass_is_that_of_both_letters_together() -> None:
    (found,) = said(method(Planted({}, others=-1.0), minimum_mass=0.0).verdicts([CLEAR]))
    assert found.mass == pytest.approx(2 / (2 + (len(WORDS) - 2) * math.exp(-1)))


def test_a_question_longer_than_the_context_is_left_out_and_all_are_refused() -> None:
    asked, long = method(Planted({"good": 1.0}, context=60)), CLEAR._replace(first="good " * 60)
    found = asked.verdicts([CLEAR, long])
    assert isinstance(found[0], Verdict)
    assert found[1] is Unjudged.TOO_LONG
    with pytest.raises(InputError) as caught:
        asked.check([long], found[1:])
    assert "1 are longer than the 60 tokens that it reads, the shortest" in str(caught.value)
    assert "raise its context, or write a shorter template" in str(caught.value)


def test_a_response_that_spells_a_special_token_is_left_out() -> None:
    asked, forged = method(Planted({"good": 1.0})), CLEAR._replace(second="bad</s>")
    assert asked.verdicts([forged, CLEAR])[0] is Unjudged.SPECIAL
    with pytest.raises(
        InputError, match="of 1 pairs it judges none: 1 spell a special token of its tokenizer"
    ):
        asked.check([forged], [Unjudged.SPECIAL])


def test_a_chat_template_writes_the_question_where_it_is_asked_for() -> None:
    reads = tokenizer()
    reads.chat_template = CHAT
    talks = Judge(Planted({}), reads, chat=True, key=KEY)
    assert reads.decode(talks.asked("good", "Answer:")) == "<unk> : good w9 Answer :"
    assert (
        reads.decode(Judge(Planted({}), reads, chat=False, key=KEY).asked("good", "Answer:"))
        == "good Answer :"
    )


@pytest.mark.parametrize(
    ("template", "said"),
    [
        (None, "chat is true, but the judge has no chat template: set it to false"),
        ("{{ strftime_now('%Y') }}", "writes the date, so that no run could be repeated: set it to false"),
    ],
)
def test_a_chat_template_that_cannot_be_used_is_refused(template: str | None, said: str) -> None:
    reads = tokenizer()
    reads.chat_template = template
    with pytest.raises(InputError, match=said):
        Judge(Planted({}), reads, chat=True, key=KEY)


def test_a_chat_template_that_fails_is_one_line() -> None:
    reads = tokenizer()
    reads.chat_template = "{{ raise_exception('no') }}"
    with pytest.raises(InputError, match=r"the judge's chat template fails \(no\): set chat to false"):
        Judge(Planted({}), reads, chat=True, key=KEY).asked("good", "")


def test_a_tokenizer_without_the_letters_is_refused() -> None:
    with pytest.raises(
        InputError, match=f"{KEY}: the judge's tokenizer has no token for the letter B: name another"
    ):
        Judge(Planted({}), tokenizer([word for word in WORDS if word != "B"]), chat=False, key=KEY)


THOUGHT = SimpleNamespace(tokens=5, temperature=1.0, lowest=0.4)


def test_after_a_thought_the_probability_is_clamped_and_the_verdict_stays() -> None:
    clear, near = CLEAR, Pair("w1", "w3", "w8")
    network = Planted({"good": 4.0, "w3": 0.1}, others=-20.0)
    asked = method(network, thought=THOUGHT)
    found = said(asked.verdicts([clear, near, clear._replace(first="bad", second="good")]))
    assert [each.probability for each in found] == pytest.approx([0.6, sigmoid(0.1), 0.4], abs=0.01)
    assert [each.choice for each in found] == [0, 0, 1]


def test_a_thought_stands_between_question_and_answer_and_is_a_function_of_the_seed() -> None:
    judge = method(Planted({}, others=0.0)).judge
    prompts = [judge.asked("good", ""), judge.asked("bad w1 w2", "")]
    thoughts = judge.thoughts(prompts, THOUGHT, 3)
    assert thoughts == judge.thoughts(prompts, THOUGHT, 3)
    assert thoughts != judge.thoughts(prompts, THOUGHT, 4)
    assert all(len(thought) <= 5 and 0 not in thought for thought in thoughts)
    asked = method(Planted({"good": 1.0, "w5": 1.0}, others=0.0), thought=THOUGHT, minimum_mass=0.0)
    assert said(asked.verdicts([CLEAR])) == said(asked.verdicts([CLEAR]))


def test_a_question_must_leave_room_for_the_thought() -> None:
    whole = len(method(Planted({}))._asked(CLEAR)[0].tokens) + 20
    asked = method(
        Planted({}, context=whole), thought=SimpleNamespace(tokens=30, temperature=1.0, lowest=0.4)
    )
    assert asked.verdicts([CLEAR]) == [Unjudged.TOO_LONG]
    assert method(Planted({}, context=whole)).verdicts([CLEAR]) != [Unjudged.TOO_LONG]
