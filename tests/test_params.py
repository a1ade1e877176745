"""params.yaml as shipped is right, and each mistake in it is told in one line that names the key."""

from __future__ import annotations

from pathlib import Path

import pytest

from jokbo import params
from jokbo.errors import InputError

SHIPPED = Path(__file__).parent.parent / "params.yaml"


def test_the_shipped_file_is_valid() -> None:
    loaded = params.load(SHIPPED)
    stages = {
        "fetch",
        "prepare",
        "tokenize",
        "pretrain",
        "finetune",
        "distill",
        "preferences",
        "reward",
        "ppo",
    }
    assert set(type(loaded).model_fields) == {
        "compute",
        *stages,
        "evaluate",
        "family_text",
        "family",
        "family_baselines",
    }


@pytest.mark.parametrize(
    ("found", "written", "said"),
    [
        ("width: 256", "widht: 256", "pretrain.model.widht is not a known key: did you mean width?"),
        ("\nppo:", "\npoo:", "poo is not a known key: did you mean ppo?"),
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
        ("by: epochs", "by: epoch", "tokenize.mix.by is epoch: it must be one of 'epochs', 'weights'"),
        ("layers: 4", 'layers: "4"', "pretrain.model.layers is '4': input should be a valid integer"),
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
        ("heads: 4", "heads: 3", "heads is 3: it must divide width, which is 256"),
        ("heads: 4", "heads: 256", "rotary positions need an even number"),
        ("context: 128", "context: 32", "it must be at most pretrain.model.context, which is 32"),
        (
            "processes: 1",
            "processes: 5",
            "pretrain.training.batch is 32: it must be a multiple of compute.processes",
        ),
        ("minibatch: 32", "minibatch: 48", "it must divide rollout_batch, which is 64"),
        ("train: 0.65", "train: 0.9", "prepare.splits: the shares add up to 1.25"),
        ("kind: package", "kind: parcel", "kind is parcel: it must be one of 'package', 'files', 'hub'"),
        ("gradient_clip: 0.0", "gradient_clip: 1.0", "with the muon optimizer it must be 0"),
        ("test_splits: [prompts, test]", "test_splits: [judge]", "family_text.test_splits.0 is 'judge'"),
        (
            "    text: bilingual\n",
            "    text: both\n",
            "family_text: translations.text is both: it must be one of",
        ),
        (
            "by: flops",
            "by: flop",
            "family.budget.by is 'flop': input should be 'tokens', 'flops' or 'seconds'",
        ),
        ("seeds: [1, 2, 3]", "seeds: [1]", "family.finetune.seeds is [1]: list should have at least 2 items"),
        (
            "module: gpt3",
            "module: gtp3",
            "family.systems.gpt3.module: there is no jokbo/systems/gtp3.py with a system: did you mean gpt3?",
        ),
        (
            "module: gpt3",
            "module: noise",
            "there is no jokbo/systems/noise.py with a system: it must be one of al",
        ),
        ("    gpt3: {", "    gpt3.5: {", "family.systems.gpt3.5 is 'gpt3.5': string should match pattern"),
        (
            "module: gpt3",
            "module: gpt3, heads: 3",
            "family.systems.gpt3: heads is 3: it must divide width, which is 128",
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
            "models/family/bert_deep",
            "models/family/bort",
            "it must be models/family/ and the name of a system without",
        ),
        (
            "models/family/bert_deep",
            "models/family/xlm",
            "text, width, heads and context must be the teacher's",
        ),
        (
            "micro_batch: 0",
            "micro_batch: 16",
            "family.systems.sentiment_neuron.batch is 8: it must be a multiple",
        ),
        ("  seed: 1\n", "\tseed: 1\n", "a tab: indent with spaces"),
        ("prepare:\n", "prepare: [\n", "not YAML"),
    ],
)
def test_a_mistake_is_named_in_one_line(tmp_path: Path, found: str, written: str, said: str) -> None:
    text = SHIPPED.read_text()
    assert found in text
    path = tmp_path / "params.yaml"
    path.write_text(text.replace(found, written, 1))
    with pytest.raises(InputError) as raised:
        params.load(path)
    message = str(raised.value)
    assert said in message
    assert message.startswith(str(path))
    assert "\n" not in message


def test_a_hub_set_is_pinned_to_a_commit(tmp_path: Path) -> None:
    hub = "{kind: hub, licence: x, language: en, dataset: a/b, revision: main, split: train, streaming: false"
    path = tmp_path / "params.yaml"
    path.write_text(
        SHIPPED.read_text().replace("  sources:\n", f"  sources:\n    mine: {hub}, columns: {{}}}}\n", 1)
    )
    with pytest.raises(InputError, match=r"fetch.sources.mine.revision is 'main'"):
        params.load(path)


def test_the_line_of_a_syntax_error_is_named(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("compute:\n\tprocesses: 1\n")
    with pytest.raises(InputError, match="line 2: a tab"):
        params.load(path)


def test_a_missing_file_and_one_that_is_not_text(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        params.load(tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_bytes(b"seed: \xff")
    with pytest.raises(InputError, match="byte 6 is not UTF-8"):
        params.load(tmp_path / "params.yaml")
