"""A system of the comparison: the keys that all have, and those that only some papers have.

A class below stands for the files of jokbo/systems that its `module` names. A system of another kind is a class more,
and its name in `AnySystem`.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, get_args

from pydantic import Field, model_validator

from jokbo.params.base import DropoutRate, Positive, Precision, Rate, Section, SizeOf, check_heads

Finetuning = Literal["whole", "frozen"]
Revisions = Literal[True] | None
CHARACTERS = (
    7  # the most that one of ELMo's filters may span: jokbo/systems/elmo.py spells tokens in at least so many
)


class Nothing(Section):
    """No keys: what most papers need beyond a size."""


class System(Section):
    """What every system has."""

    NEEDS_SPECIAL_TOKENS: ClassVar[bool] = (
        False  # [MASK], [CLS], [SEP], which a tokenizer of kind wordpiece has
    )

    module: str
    """File of jokbo/systems."""
    text: str
    """Text of family_text.texts that it reads."""
    layers: SizeOf
    """Layers; an encoder-decoder has as many in each of the two."""
    hidden_size: Annotated[SizeOf, Field(multiple_of=2)]
    """Numbers in the state of a token; even, as sinusoids and maxout take two at a time."""
    heads: SizeOf
    """Attention heads; they divide the hidden size. 1 where there is no attention."""
    dropout: DropoutRate
    """Share of activations that are dropped in training."""
    context: Annotated[SizeOf, Field(ge=8)]
    """Tokens of a sequence."""
    batch_size: Positive
    """Sequences of a pretraining step, over all ranks."""
    optimizer: Literal["adamw", "muon", "adafactor"]
    """Optimizer of pretraining: adamw, muon or adafactor."""
    learning_rate: Rate
    """Highest learning rate of AdamW or Adafactor; Muon's is family.muon_learning_rate."""
    precision: Precision
    """fp32, or bf16 autocast."""
    schedule: Literal["trapezoid"]
    """Learning rate over the steps: trapezoid, noam (transformer) or one_cycle (cramming)."""
    finetune: Finetuning
    """What fine-tuning trains: whole (the network), frozen (a regression on its features) or gradual (ulmfit)."""
    revisions: None = None
    """true: keeps checkpoints at steps that are powers of two, as Pythia did."""
    neuron: None = None
    """true: finds the one neuron that tells sentiment best (sentiment_neuron)."""
    last: None = None
    """true: is read at a text's last token too, as GPT's paper does (gpt1)."""
    scratch: str | None = None
    """System whose network from scratch is this one's too, and is not trained again; absent: none."""
    more: Nothing
    """What only its paper has: see jokbo/systems/MODULE.py."""

    @model_validator(mode="after")
    def divides(self) -> System:
        check_heads(self.hidden_size, self.heads)
        return self


class Reader(System):
    """A network of transformers that reads text as it is."""

    module: Literal["gpt2", "gpt3", "t5"]
    """File of jokbo/systems."""
    revisions: Revisions = None
    """true: keeps checkpoints at steps that are powers of two, as Pythia did."""


class Gpt1(System):
    module: Literal["gpt1"]
    """File of jokbo/systems."""
    revisions: Revisions = None
    """true: keeps checkpoints at steps that are powers of two, as Pythia did."""
    last: Literal[True] | None = None
    """true: is read at a text's last token too, as GPT's paper does."""


class Masked(System):
    """A network of transformers that predicts tokens that are hidden from it."""

    NEEDS_SPECIAL_TOKENS = True

    module: Literal["bart", "bert", "deberta", "roberta", "spanbert", "xlm", "xlnet"]
    """File of jokbo/systems."""
    revisions: Revisions = None
    """true: keeps checkpoints at steps that are powers of two, as Pythia did."""


class Cramming(System):
    """Cramming, whose schedule is its own."""

    NEEDS_SPECIAL_TOKENS = True

    module: Literal["cramming"]
    """File of jokbo/systems."""
    schedule: Literal["trapezoid", "one_cycle"]
    """Learning rate over the steps: trapezoid, or one_cycle, in which batches grow."""
    revisions: Revisions = None
    """true: keeps checkpoints at steps that are powers of two, as Pythia did."""


class Mass(System):
    """MASS."""

    NEEDS_SPECIAL_TOKENS = True

    module: Literal["mass"]
    """File of jokbo/systems."""


class AlbertMore(Section):
    """What only ALBERT has."""

    embedding: SizeOf
    """Numbers in a token's embedding, fewer than the hidden size."""


class Albert(System):
    """ALBERT."""

    NEEDS_SPECIAL_TOKENS = True

    module: Literal["albert"]
    """File of jokbo/systems."""
    revisions: Revisions = None
    """true: keeps checkpoints at steps that are powers of two, as Pythia did."""
    more: AlbertMore
    """What only ALBERT has."""


class DistilbertMore(Section):
    """What only DistilBERT has."""

    teacher: str
    """Folder of its teacher: models/ and the name of a system of module bert."""


class Distilbert(System):
    """DistilBERT."""

    NEEDS_SPECIAL_TOKENS = True

    module: Literal["distilbert"]
    """File of jokbo/systems."""
    revisions: Revisions = None
    """true: keeps checkpoints at steps that are powers of two, as Pythia did."""
    more: DistilbertMore
    """What only DistilBERT has."""


class ElectraMore(Section):
    """What only ELECTRA has."""

    generator: Annotated[float, Field(gt=0, le=1)]
    """Hidden size of the generator, as a share of the discriminator's."""
    embedding: SizeOf | None = None
    """Numbers in a token's embedding; absent: the hidden size."""


class Electra(System):
    """ELECTRA."""

    NEEDS_SPECIAL_TOKENS = True

    module: Literal["electra"]
    """File of jokbo/systems."""
    more: ElectraMore
    """What only ELECTRA has."""


class TransformerMore(Section):
    """What only the Transformer has."""

    norm: Literal["post", "pre"]
    """Where its layer norms are: post (after each residual sum) or pre (before each sublayer)."""


class Transformer(System):
    """The Transformer."""

    module: Literal["transformer"]
    """File of jokbo/systems."""
    schedule: Literal["trapezoid", "noam"]
    """Learning rate over the steps: trapezoid, or noam, that of the paper."""
    more: TransformerMore
    """What only the Transformer has."""


class FastWeightsMore(Section):
    """What only fast weights have."""

    rule: Literal["delta", "sum"]
    """How the memory is written: delta (what it lacks) or sum (the whole value)."""
    feed_forward: SizeOf
    """Numbers in the middle of a feed-forward block."""


class FastWeights(System):
    """Fast weights."""

    module: Literal["fast_weights"]
    """File of jokbo/systems."""
    more: FastWeightsMore
    """What only fast weights have."""


class BahdanauMore(Section):
    """What only RNNsearch has."""

    embedding: SizeOf
    """Numbers in a token's embedding."""


class Bahdanau(System):
    """RNNsearch."""

    module: Literal["bahdanau"]
    """File of jokbo/systems."""
    layers: Literal[1]
    """1: a GRU of one layer in each direction."""
    heads: Literal[1]
    """1: its attention has one head."""
    more: BahdanauMore
    """What only RNNsearch has."""


class SentimentNeuronMore(Section):
    """What only the sentiment neuron has."""

    embedding: SizeOf
    """Numbers in a byte's embedding."""


class SentimentNeuron(System):
    """The sentiment neuron."""

    module: Literal["sentiment_neuron"]
    """File of jokbo/systems."""
    layers: Literal[1]
    """1: an LSTM of one layer."""
    heads: Literal[1]
    """1: it has no attention."""
    neuron: Literal[True] | None = None
    """true: finds the one neuron that tells sentiment best."""
    more: SentimentNeuronMore
    """What only the sentiment neuron has."""


class UlmfitMore(Section):
    """What only ULMFiT has."""

    hidden: SizeOf
    """Numbers in a token's state in all layers but the last."""


class Ulmfit(System):
    """ULMFiT."""

    module: Literal["ulmfit"]
    """File of jokbo/systems."""
    heads: Literal[1]
    """1: it has no attention."""
    finetune: Literal["whole", "frozen", "gradual"]
    """What fine-tuning trains: whole, frozen, or gradual: one layer more at a time, from the last one down."""
    more: UlmfitMore
    """What only ULMFiT has."""


class ElmoMore(Section):
    """What only ELMo has."""

    cells: SizeOf
    """Cells of each LSTM, which are projected to the hidden size."""
    filters: Annotated[list[Annotated[list[SizeOf], Field(min_length=2, max_length=2)]], Field(min_length=1)]
    """Convolutions over a token's characters: [characters that a filter spans, number of filters] of each."""


class Elmo(System):
    """ELMo."""

    module: Literal["elmo"]
    """File of jokbo/systems."""
    heads: Literal[1]
    """1: it has no attention."""
    more: ElmoMore
    """What only ELMo has."""

    @model_validator(mode="after")
    def can_be_built(self) -> Elmo:
        if self.hidden_size >= self.more.cells:
            raise ValueError(
                f"hidden_size is {self.hidden_size}: it must be below more.cells, which is {self.more.cells}"
            )
        if (longest := max(spanned for spanned, _ in self.more.filters)) > CHARACTERS:
            raise ValueError(f"more.filters has one of {longest} characters: {CHARACTERS} is the most")
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
