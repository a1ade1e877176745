"""family/params.yaml as shipped is right, and each mistake in it is told in one line that names the key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from jokbo import params
from jokbo.params import FamilyParams
from jokbo.params.family import with_defaults
from jokbo.params.systems import KINDS, System
from jokbo.runtime.errors import InputError

CHAIN = Path(__file__).parents[2] / "params.yaml"
SHIPPED = CHAIN.parent / "family/params.yaml"
LARGE = CHAIN.parent / "family/profiles/large.yaml"


def loaded(folder: Path, text: str, chain: str | None = None) -> FamilyParams:
    """What the text says, in a file of the folder; `chain` is the text of the chain's."""
    (folder / "family.yaml").write_text(text)
    (folder / "chain.yaml").write_text(chain or CHAIN.read_text())
    return params.load_family(folder / "family.yaml", folder / "chain.yaml")


def test_the_shipped_file_is_valid_and_computed_as_the_chain_is() -> None:
    found = params.load_family(SHIPPED, CHAIN)
    assert found.compute == params.load(CHAIN).compute
    assert len(found.family.systems) == 25


def test_a_system_has_the_defaults_but_for_what_it_names() -> None:
    written = params.read(SHIPPED)["family"]
    found = params.load_family(SHIPPED, CHAIN).family.systems
    for name, own in written["systems"].items():
        assert found[name].model_dump(exclude_unset=True) == {**written["defaults"], **own}


@pytest.mark.parametrize("kind", dict.fromkeys(KINDS.values()))
def test_each_key_of_a_system_is_described(kind: type[System]) -> None:
    more = kind.model_fields["more"].annotation
    assert more is not None
    fields = {**kind.model_fields, **{f"more.{name}": field for name, field in more.model_fields.items()}}
    assert [name for name, field in fields.items() if not field.description] == []


def test_it_says_what_it_says_without_anchors() -> None:
    assert not {"<<", "&", "*"} & {*SHIPPED.read_text().split()}


@pytest.mark.parametrize(
    "tree", [{}, {"family": None}, {"family": {"systems": 1}}, {"family": {"systems": {"a": 1}}}]
)
def test_what_is_not_as_it_should_be_is_left_to_the_schema(tree: dict[str, Any]) -> None:
    assert with_defaults(tree) == tree


@pytest.mark.parametrize(
    ("found", "written", "said"),
    [
        ("test_splits: [prompts, test]", "test_splits: [judge]", "family_text.test_splits.0 is 'judge'"),
        (
            "    text: bilingual ",
            "    text: both ",
            "family_text: translations.text is both: it must be one of",
        ),
        (
            "by: flops",
            "by: flop",
            "family.budget.by is 'flop': input should be 'tokens', 'flops' or 'seconds'",
        ),
        (
            "seeds: [1, 2, 3, 4, 5]",
            "seeds: [1]",
            "family.finetune.seeds is [1]: list should have at least 2 items",
        ),
        (
            "module: gpt3",
            "module: gtp3",
            "family.systems.gpt3.module is gtp3: did you mean gpt3?",
        ),
        (
            "module: gpt3",
            "module: noise",
            "family.systems.gpt3.module is noise: it must be one of 'gpt2', 'gpt3'",
        ),
        ("    gpt3: {", "    gpt3.5: {", "family.systems.gpt3.5 is 'gpt3.5': string should match pattern"),
        (
            "module: gpt3",
            "module: gpt3, heads: 3",
            "family.systems.gpt3: heads is 3: it must divide hidden_size, which is 128",
        ),
        (
            "{embedding: 64}",
            "{embeding: 64}",
            "more.embeding is not a known key: did you mean embedding?",
        ),
        (
            "text: bilingual}",
            "text: both}",
            "family.systems.xlm.text is both: it must be one of family_text.texts",
        ),
        (
            "models/bert_deep",
            "models/bort",
            "it must be models/ and the name of a system of module bert: models/bert, models",
        ),
        (
            "models/bert_deep",
            "models/xlm",
            "it must be models/ and the name of a system of module bert",
        ),
        ("bert: {module: bert}", "bert: {}", "family.systems.bert.module is missing: add it"),
        ("module: roberta", "module: roberta, schedule: noam", "schedule is 'noam': input should be 'trape"),
        ("module: roberta", "module: roberta, schedule: one_cycle", "roberta.schedule is 'one_cycle': input"),
        (
            "module: roberta",
            "module: roberta, finetune: gradual",
            "finetune is 'gradual': input should be 'w",
        ),
        (
            "module: roberta",
            "module: roberta, neuron: true",
            "roberta.neuron is True: a system of this kind has n",
        ),
        (
            "module: electra",
            "module: electra, revisions: true",
            "electra.revisions is True: a system of this",
        ),
        (
            "module: roberta",
            "module: roberta, more: {norm: pre}",
            "roberta.more.norm is not a known key: rem",
        ),
        ("{norm: post}", "{norm: psot}", "transformer.more.norm is 'psot': input should be 'post' or 'pre'"),
        ("{norm: post}", "{}", "family.systems.transformer.more.norm is missing: add it"),
        ("{norm: post}", "{nrom: post}", "transformer.more.nrom is not a known key: did you mean norm?"),
        (
            "rule: delta",
            "rule: nosuch",
            "fast_weights.more.rule is 'nosuch': input should be 'delta' or 'sum'",
        ),
        ("cells: 256", "cells: 128", "elmo: hidden_size is 128: it must be below more.cells, which is 128"),
        ("[1, 16]", "[8, 16]", "elmo: more.filters has one of 8 characters: 7 is the most"),
        ("generator: 1.0", "generator: 0.0", "electra.more.generator is 0.0: input should be greater than 0"),
        (
            "ulmfit, batch_size: 16, layers: 3, heads: 1",
            "ulmfit, batch_size: 16, layers: 3, heads: 2",
            "heads is 2: input",
        ),
        (
            "module: roberta",
            "module: roberta, hidden_size: 129, heads: 1",
            "hidden_size is 129: input should be a multiple",
        ),
        ("module: roberta", "module: roberta, context: 6", "roberta.context is 6: input should be greater"),
        ("module: roberta", "module: roberta, text: bytes", "bytes, of kind byte_bpe: roberta reads [MASK]"),
        ("xlm, text: bilingual", "xlm, text: wordpiece", "family_text.translations.text has: bilingual"),
        (
            "{module: bert, layers: 2} # teaches",
            "{module: bert, layers: 3, hidden_size: 64} #",
            "text, hidden_size, heads and context must be the teacher's, but hidden_size is",
        ),
        (
            "{module: bert, layers: 2} # teaches",
            "{module: bert} #",
            "layers is 1: it must be fewer than the teacher's",
        ),
        (
            "{teacher: models/bert_deep}",
            "{}",
            "family.systems.distilbert.more.teacher is missing: add it",
        ),
        (
            "layers: 1, hidden_size: 128,",
            "hidden_size: 128,",
            "family.systems.bert.layers is missing: add it",
        ),
        (
            "layers: 1,",
            "layers: '1',",
            "bert.layers (of family.defaults) is '1': input should be a valid integer",
        ),
        ("layers: 1,", "layers: 1, lern: 1,", "bert.lern (of family.defaults) is not a known key"),
        ("  defaults: {", "  defaults: 5\n  more: {", "family.more is not a known key"),
        ("family_text:\n", "compute: {}\nfamily_text:\n", "compute is in CHAIN alone: remove it here"),
        ("family_text:\n", "align: {}\nfamily_text:\n", "align is not a known key: remove it"),
        (
            "module: roberta",
            "module: roberta, width: 128",
            "roberta.width is not a known key: it is family.systems.roberta.hidden_size now",
        ),
        (
            "module: roberta",
            "module: roberta, batch: 8",
            "roberta.batch is not a known key: it is family.systems.roberta.batch_size now",
        ),
        ("neuron: true", "unit: true", "it is family.systems.sentiment_neuron.neuron now"),
        (
            "hidden_size: 128, heads: 2",
            "width: 128, heads: 2",
            "family.systems.bert.width (of family.defaults) is not a known key: it is family.systems.bert.hidden_size",
        ),
    ],
)
def test_a_mistake_is_named_in_one_line(tmp_path: Path, found: str, written: str, said: str) -> None:
    text = SHIPPED.read_text()
    assert found in text
    with pytest.raises(InputError) as raised:
        loaded(tmp_path, text.replace(found, written, 1))
    message = str(raised.value)
    assert said.replace("CHAIN", str(tmp_path / "chain.yaml")) in message
    assert message.startswith(str(tmp_path / "family.yaml"))
    assert "\n" not in message


@pytest.mark.parametrize(
    ("found", "written", "said"),
    [
        (
            "micro_batch: 0",
            "micro_batch: 16",
            "family.systems.sentiment_neuron.batch_size is 8: it must be a multiple",
        ),
        (
            "zero_stage: 0",
            "zero_stage: 1",
            "family.systems.t5.optimizer is adafactor, which needs whole matrices",
        ),
    ],
)
def test_what_does_not_go_with_how_it_is_computed(
    tmp_path: Path, found: str, written: str, said: str
) -> None:
    with pytest.raises(InputError, match=said):
        loaded(tmp_path, SHIPPED.read_text(), CHAIN.read_text().replace(found, written, 1))


def test_a_mistake_in_the_chains_file_is_told_of_that(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"chain.yaml: algin is not a known key: did you mean align\?"):
        loaded(tmp_path, SHIPPED.read_text(), CHAIN.read_text().replace("\nalign:", "\nalgin:"))


def test_the_profile_of_the_large_comparison_takes_the_place_of_whole_keys() -> None:
    own, large = params.load_family(SHIPPED, CHAIN), params.load_family(SHIPPED, CHAIN, LARGE)
    changed = {*params.read(LARGE)["family"]}
    for key in own.family.model_dump():
        assert (getattr(own.family, key) == getattr(large.family, key)) == (key not in changed), key
    assert len(large.family.systems) == 8
    assert all(system.hidden_size == 256 for system in large.family.systems.values())
    assert large.family.budget.amount >= 3.5e14
