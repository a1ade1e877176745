"""A system of the family: what all have, and what each file of jokbo/systems takes beyond it.

A class below stands for the files that its `module` names. A system of another kind is a class more, and its name in
`AnySystem`.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, get_args

from pydantic import Field, model_validator

from jokbo.params.base import DropoutRate, Positive, Precision, Rate, Section, SizeOf, check_heads

Pooling = Literal["whole", "frozen"]  # frozen: a regression on its features
Revisions = Literal[True] | None


class Nothing(Section):
    """What most papers have beyond a size."""


class System(Section):
    """What every system has. `more` is what only its paper has: see jokbo/systems/MODULE.py."""

    NEEDS_MARKS: ClassVar[bool] = False  # [MASK], [CLS] and [SEP], which a text of kind wordpiece has

    module: str  # of jokbo/systems
    text: str
    layers: SizeOf  # an encoder-decoder has as many in each
    width: Annotated[SizeOf, Field(multiple_of=2)]  # sine and cosine, or pairs of units, take turns
    heads: SizeOf  # 1 where there is no attention
    dropout: DropoutRate
    context: Annotated[SizeOf, Field(ge=8)]  # tokens of a row
    batch: Positive  # rows
    optimizer: Literal["adamw", "muon", "adafactor"]  # of pretraining
    learning_rate: Rate  # AdamW's, or Adafactor's; Muon's own is the family's
    precision: Precision
    schedule: Literal["trapezoid"]
    finetune: Pooling
    revisions: None = None  # keeps checkpoints at steps of powers of two, as Pythia did
    unit: None = None  # which one unit tells sentiment best
    last: None = None  # reads the state at a text's last token, too, as GPT's paper does
    scratch: str | None = (
        None  # the system whose network from scratch is this one's too, and is not trained again
    )
    more: Nothing

    @model_validator(mode="after")
    def divides(self) -> System:
        check_heads(self.width, self.heads)
        return self


class Reader(System):
    """A network of transformers that reads text as it is."""

    module: Literal["gpt2", "gpt3", "t5"]
    revisions: Revisions = None


class Gpt1(System):
    module: Literal["gpt1"]
    revisions: Revisions = None
    last: Literal[True] | None = None


class Masked(System):
    """A network of transformers that predicts what is hidden from it."""

    NEEDS_MARKS = True
    module: Literal["bart", "bert", "deberta", "roberta", "spanbert", "xlm", "xlnet"]
    revisions: Revisions = None


class Cramming(System):
    NEEDS_MARKS = True
    module: Literal["cramming"]
    schedule: Literal["trapezoid", "one_cycle"]
    revisions: Revisions = None


class Mass(System):
    NEEDS_MARKS = True
    module: Literal["mass"]


class AlbertMore(Section):
    embedding: SizeOf


class Albert(System):
    NEEDS_MARKS = True
    module: Literal["albert"]
    revisions: Revisions = None
    more: AlbertMore


class DistilbertMore(Section):
    teacher: str  # models/ and the name of a system of module bert


class Distilbert(System):
    NEEDS_MARKS = True
    module: Literal["distilbert"]
    revisions: Revisions = None
    more: DistilbertMore


class ElectraMore(Section):
    generator: Annotated[float, Field(gt=0, le=1)]  # its width, as a share of the network's
    embedding: SizeOf | None = None  # absent: the width


class Electra(System):
    NEEDS_MARKS = True
    module: Literal["electra"]
    more: ElectraMore


class TransformerMore(Section):
    norm: Literal["post", "pre"]


class Transformer(System):
    module: Literal["transformer"]
    schedule: Literal["trapezoid", "noam"]
    more: TransformerMore


class FastWeightsMore(Section):
    rule: Literal["delta", "sum"]
    feed_forward: SizeOf


class FastWeights(System):
    module: Literal["fast_weights"]
    more: FastWeightsMore


class BahdanauMore(Section):
    embedding: SizeOf


class Bahdanau(System):
    module: Literal["bahdanau"]
    layers: Literal[1]
    heads: Literal[1]
    more: BahdanauMore


class SentimentNeuronMore(Section):
    embedding: SizeOf


class SentimentNeuron(System):
    module: Literal["sentiment_neuron"]
    layers: Literal[1]
    heads: Literal[1]
    unit: Literal[True] | None = None
    more: SentimentNeuronMore


class UlmfitMore(Section):
    hidden: SizeOf  # of all layers but the last


class Ulmfit(System):
    module: Literal["ulmfit"]
    heads: Literal[1]
    finetune: Literal["whole", "frozen", "gradual"]
    more: UlmfitMore


class ElmoMore(Section):
    cells: SizeOf  # of an LSTM, projected to width
    filters: Annotated[
        list[Annotated[list[SizeOf], Field(min_length=2, max_length=2)]], Field(min_length=1)
    ]  # [characters, how many]


class Elmo(System):
    module: Literal["elmo"]
    heads: Literal[1]
    more: ElmoMore

    @model_validator(mode="after")
    def can_be_built(self) -> Elmo:
        if self.width >= self.more.cells:
            raise ValueError(
                f"width is {self.width}: it must be below more.cells, which is {self.more.cells}"
            )
        if (widest := max(width for width, _ in self.more.filters)) > 7:
            raise ValueError(f"more.filters has one of {widest} characters: 7 is the most")
        return self


AnySystem = Annotated[
    Reader
    | Masked
    | Albert
    | Bahdanau
    | Cramming
    | Distilbert
    | Electra
    | Elmo
    | FastWeights
    | Gpt1
    | Mass
    | SentimentNeuron
    | Transformer
    | Ulmfit,
    Field(discriminator="module"),
]
KINDS: dict[str, type[System]] = {
    module: kind
    for kind in get_args(get_args(AnySystem)[0])
    for module in get_args(kind.model_fields["module"].annotation)
}
