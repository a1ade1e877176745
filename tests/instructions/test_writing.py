"""What is written after prompts that begin alike is what the model writes after each of them alone."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from jokbo.instructions.writing import Drawing, Writer
from jokbo.models import access
from tests.support import adopted

BEGINS, PROMPTS = "The film was dull. ", ["They say.", "In 1950 the plot seemed warm to me", "W"]
LIKELIEST = Drawing(tokens=24)


@pytest.fixture(scope="module")
def writer(tmp_path_factory: pytest.TempPathFactory) -> Writer:
    reads = adopted.tokenizer("<unk>", "</s>", unk_token="<unk>", pad_token="<unk>", eos_token="</s>")
    folder = adopted.save(tmp_path_factory.mktemp("small"), reads, initializer_range=0.5)
    return Writer(AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder))


def alone(writer: Writer, prompt: str) -> list[int]:
    """The tokens that transformers has the model write after the whole prompt, the likeliest each time."""
    tokens = [*writer.encoded(BEGINS), *writer.encoded(prompt)]
    given_1T = torch.tensor([tokens])
    mask_1T = torch.ones_like(given_1T)
    options = {"do_sample": False, "max_new_tokens": LIKELIEST.tokens, "attention_mask": mask_1T}
    return access.continued(writer.network, given_1T, **options)[0, len(tokens) :].tolist()


def test_a_batch_of_prompts_is_as_each_alone(writer: Writer) -> None:
    begun, end = writer.begun(BEGINS), access.end_of_text(writer.tokenizer)
    for written, prompt in zip(writer.after(begun, PROMPTS, [], LIKELIEST, seed=1), PROMPTS, strict=True):
        tokens = alone(writer, prompt)
        assert written.ended == (tokens[-1] == end)
        assert written.text == writer.tokenizer.decode(tokens, skip_special_tokens=True)


def test_the_probabilities_of_the_next_token_are_those_of_the_whole_prompt(writer: Writer) -> None:
    found_BV = writer.next(writer.begun(BEGINS), PROMPTS)
    for found_V, prompt in zip(found_BV, PROMPTS, strict=True):
        tokens_1T = torch.tensor([[*writer.encoded(BEGINS), *writer.encoded(prompt)]])
        with torch.no_grad():
            whole_V = writer.network(tokens_1T).logits[0, -1].log_softmax(-1)
        torch.testing.assert_close(found_V, whole_V, atol=1e-4, rtol=1e-4)


def test_a_row_stops_alone(writer: Writer) -> None:
    """Its stop cuts its text, and changes no other row."""
    begun = writer.begun(BEGINS)
    whole = writer.after(begun, PROMPTS, [], LIKELIEST, seed=1)
    stop = whole[1].text[3:5]
    cut = writer.after(begun, PROMPTS, [stop], LIKELIEST, seed=1)
    assert cut[1] == (whole[1].text.partition(stop)[0], True)
    for one, other in zip(whole, cut, strict=True):
        assert one == other or (stop in one.text and other == (one.text.partition(stop)[0], True))


def test_the_seed_decides_what_is_drawn_and_top_p_what_can_be(writer: Writer) -> None:
    begun = writer.begun(BEGINS)

    def drawn(seed: int, top_p: float) -> list[str]:
        drawing = Drawing(tokens=12, temperature=5.0, top_p=top_p)
        return [each.text for each in writer.after(begun, PROMPTS, [], drawing, seed)]

    assert drawn(1, 0.9) == drawn(1, 0.9) != drawn(2, 0.9)
    assert drawn(1, 0.001) == drawn(2, 0.001)  # the likeliest token alone
