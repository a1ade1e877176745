"""An exported model is the model: readers that are not ours give its logits and its tokens."""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

from jokbo.data.counts import StartingModel
from jokbo.exporting import Kind, Precision
from jokbo.exporting.export import Target, export
from jokbo.exporting.opening import opened
from jokbo.models import access
from jokbo.reporting.data_card import DataCard, SourceCard
from jokbo.runtime import ancestry
from jokbo.runtime.errors import InputError
from tests.exporting.conftest import CHAT, TEXTS

gguf = pytest.importorskip("gguf")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
pytest.importorskip("accelerate")  # by which transformers reads GGUF

# the error of logits, as a root mean square, as a share of their standard deviation
CLOSE = {"fp32": 1e-6, "bf16": 0.02, "q8_0": 0.04}
WRITERS = ["llama", "gpt2"]


def _exported(model: Path, folder: Path, kind: Kind, precision: Precision = "fp32") -> Path:
    export(model, Target(folder, kind, precision), lambda key: f"commit of {key}")
    return folder


def _batch(model: Path) -> dict[str, Tensor]:
    tokenizer = AutoTokenizer.from_pretrained(model)
    return dict(tokenizer(TEXTS, padding=True, return_tensors="pt"))


@torch.no_grad()
def _logits(model: Path) -> Tensor:
    return opened(model).network(**_batch(model)).logits


@pytest.mark.parametrize("name", WRITERS)
def test_a_folder_is_the_model_to_the_bit(models: Path, tmp_path: Path, name: str) -> None:
    (models / name / "code.py").write_text("raise SystemExit")
    made = _exported(models / name, tmp_path / "out", "folder")
    assert torch.equal(_logits(made), _logits(models / name))
    assert AutoTokenizer.from_pretrained(made).chat_template == CHAT
    assert not list(made.glob("*.py"))
    assert ancestry.weights_of(made) == ancestry.weights_of(models / name)


def test_a_model_that_stages_gave_fewer_tokens_leaves_with_its_whole_context(
    models: Path, tmp_path: Path
) -> None:
    network = AutoModelForCausalLM.from_pretrained(models / "llama")
    shutil.copytree(models / "llama", tmp_path / "kept")
    access.keep_to(network, 8)
    network.save_pretrained(tmp_path / "kept")
    made = _exported(tmp_path / "kept", tmp_path / "out", "gguf")
    whole = network.config.max_position_embeddings
    assert f"a context of {whole}." in (made / "README.md").read_text("utf-8")
    field = gguf.GGUFReader(made / "model.gguf").get_field("llama.context_length")
    assert field.contents() == whole


@pytest.mark.parametrize("precision", CLOSE)
@pytest.mark.parametrize("name", WRITERS)
def test_transformers_reads_the_same_logits_from_gguf(
    models: Path, tmp_path: Path, name: str, precision: Precision
) -> None:
    made = _exported(models / name, tmp_path / "out", "gguf", precision)
    # it overlooks the context of a GPT-2
    own = {} if name == "llama" else {"config": opened(models / name).network.config}
    read = AutoModelForCausalLM.from_pretrained(made, gguf_file="model.gguf", dtype=torch.float32, **own)
    with torch.no_grad():
        logits = read.eval()(**_batch(models / name)).logits
    expected = _logits(models / name)
    error = (logits - expected).square().mean().sqrt() / expected.std()
    assert error < CLOSE[precision]
    assert precision == "fp32" or error > 1e-4  # it was rounded


@pytest.mark.parametrize("name", WRITERS)
def test_the_gguf_packages_reader_finds_tokens_types_merges_and_ancestry(
    models: Path, tmp_path: Path, name: str
) -> None:
    made = _exported(models / name, tmp_path / "out", "gguf")
    tokenizer: Any = AutoTokenizer.from_pretrained(models / name)
    found = {key: field.contents() for key, field in gguf.GGUFReader(made / "model.gguf").fields.items()}
    tokens, types = found["tokenizer.ggml.tokens"], found["tokenizer.ggml.token_type"]
    assert tokens[: len(tokenizer)] == tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    assert types[0] == types[1] == gguf.TokenType.CONTROL
    assert set(types[2 : len(tokenizer)]) == {gguf.TokenType.NORMAL}
    assert set(types[len(tokenizer) :]) == {gguf.TokenType.UNUSED}
    assert len(tokens) == len(types) == found[f"{name}.vocab_size"]
    assert found["tokenizer.ggml.pre"] == ("smollm" if name == "llama" else "gpt-2")
    assert found["tokenizer.chat_template"] == CHAT
    assert found["tokenizer.ggml.add_bos_token"] is False
    merges = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]
    assert found["tokenizer.ggml.merges"] == [" ".join(merge) for merge in merges]
    assert json.loads(found["jokbo.ancestry"]) == json.loads((made / "ancestry.json").read_text())


def test_transformers_reads_the_same_tokens_from_gguf(models: Path, tmp_path: Path) -> None:
    made = _exported(models / "gpt2", tmp_path / "out", "gguf")  # it reads no single digits; llama.cpp does
    read = AutoTokenizer.from_pretrained(made, gguf_file="model.gguf")
    own = AutoTokenizer.from_pretrained(models / "gpt2")
    marked = [*TEXTS, f"one<|endoftext|>{TEXTS[0]}"]
    assert read(marked)["input_ids"] == own(marked)["input_ids"]


@pytest.mark.parametrize("name", [*WRITERS, "classifier", "reward"])
def test_onnxruntime_gives_the_same_logits_for_any_batch_and_length(
    models: Path, tmp_path: Path, name: str
) -> None:
    made = _exported(models / name, tmp_path / "out", "onnx")
    session = onnxruntime.InferenceSession(made / "model.onnx", providers=["CPUExecutionProvider"])
    network, batch = opened(models / name).network, _batch(made)
    for texts, tokens in ((3, None), (1, 1), (2, 9)):
        some = {key: rows[:texts, :tokens] for key, rows in batch.items()}
        (logits,) = session.run(["logits"], {key: rows.numpy() for key, rows in some.items()})
        with torch.no_grad():
            torch.testing.assert_close(torch.from_numpy(logits), network(**some).logits, atol=1e-5, rtol=1e-5)
    assert f"# {name}\n" in (made / "README.md").read_text()
    assert "weights" in json.loads((made / "ancestry.json").read_text())


@pytest.mark.parametrize("kind", ["folder", "gguf"])
def test_card_and_ancestry_go_along(models: Path, tmp_path: Path, kind: Kind) -> None:
    name = "llama" if kind == "gguf" else "reward"
    made = _exported(models / name, tmp_path / "out", kind)
    records = json.loads((made / "ancestry.json").read_text())["records"]
    stages = {record["stage"]: record["commit"] for record in records.values()}
    expected = {"pretrain": "commit of k"} | ({"reward": "commit of k"} if name == "reward" else {})
    assert stages == expected
    card = (made / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: ")
    for weights, record in records.items():
        assert f"by {record['stage']}  commit of k  weights {weights[:12]}" in card
    assert "data/tokens" in card
    assert str(models.parent) not in card + (made / "ancestry.json").read_text()  # no path of this machine
    assert "docs/" not in card  # nothing of the project


def test_a_model_of_a_labelled_task_has_the_record_of_the_folder_it_is_in(
    models: Path, tmp_path: Path
) -> None:
    folder = Path("models/tasks")
    with contextlib.chdir(tmp_path):
        for name in ("one", "two"):
            shutil.copytree(models / "classifier", folder / name)
        record = ancestry.made(
            folder, stage="tasks", key="t", params={}, deps={str(models / "gpt2"): "g.dir"}
        )
        record.save(folder)
        made = _exported(folder / "two", Path("out"), "folder")
        found = json.loads((made / "ancestry.json").read_text())
        assert found["weights"] == ancestry.weights_of(folder / "two") != record.weights
        assert [each["model"] for each in found["records"].values()] == ["models/tasks/two"]
        assert "models/tasks/two  by tasks  commit of t" in (made / "README.md").read_text()


def test_the_card_names_the_licences_that_the_data_card_has(models: Path, tmp_path: Path) -> None:
    shutil.copytree(models, tmp_path / "models")
    counted = dict.fromkeys(("rows", "documents", "words", "bytes", "repeated", "conflicting_labels"), 1)
    nothing = {
        "languages": {},
        "dropped": {},
        "masked": {},
        "not_in_the_mix": 0,
        "tokens": None,
        "epochs": None,
    }
    letters = SourceCard(licences=["CC0", "mine"], origins=["letters.jsonl"], **counted, **nothing)
    start = StartingModel(
        kind="folder",
        source="data/local/own",
        licence="Apache-2.0",
        network="LlamaForCausalLM",
        parameters=1,
        layers=2,
        context=8,
        vocabulary=9,
        changed=[],
    )
    merged = {"merged": 0, "conflicting_labels": 0, "near_duplicates": 0}
    data = DataCard(
        start=start, sources={"letters": letters}, not_read={}, splits={}, **merged, tokenizer={}, examples={}
    )
    (tmp_path / "reports").mkdir()
    data.save(tmp_path / "reports" / "data-card.json")
    card = (_exported(tmp_path / "models" / "reward", tmp_path / "out", "folder") / "README.md").read_text()
    assert "| model data/local/own | Apache-2.0 |" in card
    assert "| texts of letters | CC0; mine |" in card
    own = (_exported(tmp_path / "models" / "gpt2", tmp_path / "other", "folder") / "README.md").read_text()
    assert "letters" not in own  # no stage made it


def test_a_model_without_a_record_says_so(models: Path, tmp_path: Path) -> None:
    made = _exported(models / "gpt2", tmp_path / "out", "folder")
    assert "no stage of jokbo made it" in (made / "README.md").read_text()


def test_what_is_there_stays_unless_it_is_an_export_and_force_is_given(models: Path, tmp_path: Path) -> None:
    made = _exported(models / "llama", tmp_path / "out", "folder")
    with pytest.raises(InputError, match="there already: name another --out"):
        _exported(models / "llama", made, "gguf")
    assert (made / "model.safetensors").is_file()
    export(models / "llama", Target(made, "gguf", force=True), lambda key: None)
    assert sorted(file.name for file in made.iterdir()) == ["README.md", "ancestry.json", "model.gguf"]
    (mine := tmp_path / "mine").mkdir()
    (mine / "letter").touch()
    with pytest.raises(InputError, match="not an export"):
        export(models / "llama", Target(mine, "gguf", force=True), lambda key: None)
    with pytest.raises(InputError, match="the model itself is there"):
        export(models / "llama", Target(models, "gguf", force=True), lambda key: None)
    assert (mine / "letter").is_file()


def _with_config(model: Path, **changes: object) -> None:
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | changes))


def _with_tokenizer(model: Path, **changes: object) -> None:
    tree = json.loads((model / "tokenizer.json").read_text())
    (model / "tokenizer.json").write_text(json.dumps(tree | changes))


def _add_tokens(model: Path, count: int) -> None:
    tokenizer = AutoTokenizer.from_pretrained(model)
    tokenizer.add_tokens([f"new{number}" for number in range(count)])
    tokenizer.save_pretrained(model)


@pytest.mark.parametrize(
    ("kind", "damage", "said"),
    [
        ("folder", lambda model: shutil.rmtree(model), "no config.json there"),
        ("folder", lambda model: (model / "tokenizer.json").unlink(), "no tokenizer.json there"),
        (
            "folder",
            lambda model: (model / "model.safetensors").rename(model / "model.bin"),
            "no *.safetensors there",
        ),
        (
            "folder",
            lambda model: (model / "model.safetensors").write_bytes(b"cut"),
            "no model that can be opened (",
        ),
        ("folder", lambda model: (model / "config.json").write_text("{"), "config.json: not whole ("),
        (
            "folder",
            lambda model: _with_config(model, num_hidden_layers=3),
            "not a whole LlamaForCausalLM: it has no",
        ),
        (
            "folder",
            lambda model: _with_config(model, auto_map={"AutoModel": "code.py"}),
            "`auto_map` asks for code",
        ),
        (
            "folder",
            lambda model: _with_config(model, architectures=["BertModel"]),
            "BertModel: only models that",
        ),
        ("folder", lambda model: _add_tokens(model, 100), "its tokenizer has a token 4"),
        (
            "gguf",
            lambda model: _with_config(model, hidden_act="gelu"),
            "config.json: hidden_act: gelu: --to gguf takes",
        ),
        ("gguf", lambda model: _with_tokenizer(model, normalizer={"type": "NFC"}), "it normalises texts"),
        ("gguf", lambda model: _with_tokenizer(model, pre_tokenizer={"type": "Whitespace"}), "not this BPE"),
    ],
)
def test_a_model_that_cannot_leave_is_refused_in_one_line_and_nothing_is_left(
    models: Path, tmp_path: Path, kind: Kind, damage: Any, said: str
) -> None:
    model = Path(shutil.copytree(models / "llama", tmp_path / "damaged"))
    damage(model)
    with pytest.raises(InputError) as refused:
        _exported(model, tmp_path / "out", kind)
    assert str(refused.value).startswith(str(model))
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
    assert {path.name for path in tmp_path.iterdir()} <= {"damaged"}


@pytest.mark.parametrize("name", ["classifier", "reward"])
def test_gguf_takes_no_network_with_a_head(models: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(
        InputError, match=r"takes models that write, and this has a head \(.*\): --to folder or onnx"
    ):
        _exported(models / name, tmp_path / "out", "gguf")
    assert not list(tmp_path.iterdir())


def test_a_record_of_other_weights_is_refused(models: Path, tmp_path: Path) -> None:
    for name in ("llama", "llama.ancestry.json"):
        (shutil.copytree if (models / name).is_dir() else shutil.copy)(models / name, tmp_path / name)
    shutil.copy(models / "gpt2" / "model.safetensors", tmp_path / "llama" / "more.safetensors")
    with pytest.raises(InputError, match="of other weights than those in"):
        _exported(tmp_path / "llama", tmp_path / "out", "folder")
