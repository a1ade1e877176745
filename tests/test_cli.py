"""The `jokbo` command, as a user types it."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import termios
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    AutoTokenizer,
    GPT2Config,
    GPT2ForSequenceClassification,
    GPT2LMHeadModel,
    PreTrainedTokenizerFast,
    set_seed,
)

from jokbo import params, ui
from jokbo.data.corpus.batches import Layout, TokenCorpus, packed_batch
from jokbo.data.corpus.packing import lay_out
from jokbo.data.corpus.tokenizer import save_tokenizer
from jokbo.data.prepare.documents import DOCUMENT_SCHEMA
from jokbo.data.tables import write_shards
from jokbo.runtime import ancestry
from tests.conftest import ROOT, Project
from tests.support.corpora import document, encoded, trained


def _jokbo(*arguments: str, folder: Path, typed: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "jokbo.cli", *arguments]
    environment = {**os.environ, "COLUMNS": "120"}
    return subprocess.run(command, cwd=folder, env=environment, input=typed, capture_output=True, text=True)


@pytest.fixture(scope="module")
def speaker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of nothing, with a context of 16 tokens, as stages save theirs."""
    folder = tmp_path_factory.mktemp("speaker") / "models" / "tiny"
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = {token: number for number, token in enumerate(["<|endoftext|>", *alphabet])}
    tokenizer = Tokenizer(models.BPE(tokens, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    end = "<|endoftext|>"
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=end, bos_token=end).save_pretrained(folder)
    set_seed(1)
    shape = {"n_layer": 1, "n_head": 1, "n_embd": 8, "n_positions": 16, "vocab_size": len(tokens)}
    GPT2LMHeadModel(GPT2Config(**shape, bos_token_id=0, eos_token_id=0)).save_pretrained(folder)
    return folder


def test_chat_continues_every_line_it_is_piped(speaker: Path) -> None:
    result = _jokbo("chat", str(speaker), "--tokens", "3", folder=speaker, typed="a film\n\nnaïve\n")
    assert result.returncode == 0, result.stderr
    first, rest = result.stdout.split("a film", 1)
    assert first == ""
    assert "naïve" in rest
    assert result.stderr == ""


@pytest.fixture(scope="module")
def partner(speaker: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same network with a longer context, whose chat template ends every turn by a special token."""
    folder = tmp_path_factory.mktemp("partner") / "models" / "tiny"
    tokenizer = AutoTokenizer.from_pretrained(speaker)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<turn>"]})
    turn = "{{ message.role[0] }}:{{ message.content }}<turn>"
    ask = "{% if add_generation_prompt %}a:{% endif %}"
    tokenizer.chat_template = "{% for message in messages %}" + turn + "{% endfor %}" + ask
    tokenizer.save_pretrained(folder)
    set_seed(1)
    shape = {"n_layer": 1, "n_head": 1, "n_embd": 8, "n_positions": 64, "vocab_size": len(tokenizer)}
    GPT2LMHeadModel(GPT2Config(**shape, bos_token_id=0, eos_token_id=0)).save_pretrained(folder)
    return folder


def test_a_model_with_a_chat_template_is_asked_by_it_and_remembers_what_was_said(partner: Path) -> None:
    tokenizer, network = AutoTokenizer.from_pretrained(partner), GPT2LMHeadModel.from_pretrained(partner)
    end = tokenizer.convert_tokens_to_ids("<turn>")
    typed, seen, expected = ["hi", "and you"], "s:be kind<turn>", []
    for line in typed:
        seen += f"u:{line}<turn>a:"
        prompt = tokenizer(seen, return_tensors="pt")["input_ids"]
        found = network.generate(
            prompt, max_new_tokens=4, do_sample=False, eos_token_id=[0, end], pad_token_id=0
        )
        expected.append(tokenizer.decode(found[0, prompt.shape[1] :], skip_special_tokens=True).strip())
        seen += expected[-1] + "<turn>"
    options = ["--tokens", "4", "--temperature", "0", "--system", "be kind"]
    result = _jokbo("chat", str(partner), *options, folder=partner, typed="\n".join(typed) + "\n")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == "".join(f"{answer}\n" for answer in expected)
    plain = _jokbo("chat", str(partner), "--plain", "--tokens", "2", folder=partner, typed="hi\n")
    assert plain.stdout.startswith("hi")


def test_a_conversation_leaves_out_its_oldest_turns_and_says_what_it_cannot_read(partner: Path) -> None:
    lines = ["0123456789" * 2, "0123456789" * 2, "0123456789" * 7, "a <turn>", "b"]
    result = _jokbo("chat", str(partner), "--tokens", "4", folder=partner, typed="\n".join(lines) + "\n")
    assert result.returncode == 0
    assert result.stderr.splitlines() == [
        "jokbo: it has no room in 60 tokens",
        "jokbo: it spells a special token",
    ]


def test_a_model_without_a_chat_template_takes_no_system_prompt(speaker: Path, partner: Path) -> None:
    told = _jokbo("chat", "tiny", "--system", "be kind", folder=speaker.parent)
    assert _one_line(told) == "jokbo: --system: tiny has no chat template: leave it out\n"
    told = _jokbo("chat", "tiny", "--system", "be kind", "--plain", folder=partner.parent)
    assert _one_line(told) == "jokbo: --system: --plain goes on with texts: leave it out\n"


def test_chat_says_the_same_with_the_same_seed(speaker: Path) -> None:
    said = [
        _jokbo("chat", str(speaker), "--seed", seed, folder=speaker, typed="a\n").stdout
        for seed in ("1", "1", "2")
    ]
    assert said[0] == said[1] != said[2]


def test_chat_with_a_prompt_longer_than_the_context_goes_on_with_the_next(speaker: Path) -> None:
    result = _jokbo("chat", str(speaker), folder=speaker, typed="a very long prompt indeed\nb\n")
    assert result.returncode == 0
    assert result.stderr == "jokbo: the prompt has 25 tokens, no room to add any\n"
    assert result.stdout.startswith("b")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["chat", "models/none"], "models/none: no config.json there"),
        (["tree", "models/none"], "models/none: no model, run or output of a stage"),
        (["report"], "reports/report.html: not there yet"),
    ],
)
def test_what_is_not_there_is_one_line(tmp_path: Path, arguments: list[str], named: str) -> None:
    result = _jokbo(*arguments, folder=tmp_path)
    assert result.returncode == 2
    assert result.stderr.startswith(f"jokbo: {named}")
    assert result.stderr.count("\n") == 1


def _one_line(result: subprocess.CompletedProcess[str]) -> str:
    assert result.returncode == 2, result.stderr
    assert result.stderr.startswith("jokbo: ")
    assert result.stderr.count("\n") == 1
    return result.stderr


@pytest.mark.parametrize(
    ("file", "content", "what"),
    [
        ("config.json", b"{", "damaged/config.json: not whole ("),
        (
            "config.json",
            b'{"model_type": "nosuch"}',
            "damaged/config.json: a network without `architectures`: only",
        ),
        ("tokenizer.json", b"{}", "damaged: no model that can be opened ("),
        ("model.safetensors", b"cut", "damaged: no model that can be opened ("),
        ("model.safetensors", None, "damaged: no *.safetensors there: "),
    ],
)
def test_a_model_that_is_damaged_is_one_line(
    speaker: Path, tmp_path: Path, file: str, content: bytes | None, what: str
) -> None:
    damaged = Path(shutil.copytree(speaker, tmp_path / "damaged"))
    (damaged / file).unlink() if content is None else (damaged / file).write_bytes(content)
    said = _one_line(_jokbo("chat", "damaged", folder=tmp_path, typed="a\n"))
    assert said.startswith(f"jokbo: {what}")


def test_a_model_of_another_kind_and_a_temperature_of_nothing_are_one_line(
    speaker: Path, tmp_path: Path
) -> None:
    other = Path(shutil.copytree(speaker, tmp_path / "other"))
    GPT2Config.from_pretrained(speaker, n_layer=2).save_pretrained(other)  # its weights have one layer
    assert "not a whole GPT2LMHeadModel: it has no transformer.h.1" in _one_line(
        _jokbo("chat", "other", folder=tmp_path, typed="a\n")
    )
    assert "--temperature is 1e-40: give 0, or from 0.001" in _one_line(
        _jokbo("chat", str(speaker), "--temperature", "1e-40", folder=tmp_path)
    )


def test_a_model_that_scores_is_no_partner_of_a_chat(speaker: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(speaker, tmp_path / "reward"))
    GPT2ForSequenceClassification(GPT2Config.from_pretrained(speaker)).save_pretrained(other)
    said = _one_line(_jokbo("chat", "reward", folder=tmp_path, typed="a\n"))
    assert said.startswith("jokbo: reward: it scores texts and writes none")


def _with_code(model: Path) -> None:
    (model / "own.py").write_text("from pathlib import Path\nPath('evil').touch()\n")
    for name, kind in (("config.json", "AutoConfig"), ("tokenizer_config.json", "AutoTokenizer")):
        settings = json.loads((model / name).read_text()) | {"auto_map": {kind: "own.Own"}}
        (model / name).write_text(json.dumps(settings))


def _with_a_pickle(model: Path) -> None:
    (model / "model.safetensors").rename(model / "pytorch_model.bin")


def _with_other_weights(model: Path) -> None:
    ancestry.Record("pretrain", "key", "0" * 64, {}, {}, {}, {}, []).save(model)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_with_code, "tampered/config.json: `auto_map` asks for code of the model's own, which is never run"),
        (_with_a_pickle, "tampered: no *.safetensors there"),
        (_with_other_weights, "tampered.ancestry.json: of other weights than those in tampered"),
    ],
)
def test_a_model_that_was_tampered_with_is_not_opened(
    speaker: Path, tmp_path: Path, change: Callable[[Path], None], said: str
) -> None:
    """Nobody is asked whether its code may run either: who types `y` says it to the model."""
    change(Path(shutil.copytree(speaker, tmp_path / "tampered")))
    answer = _one_line(_jokbo("chat", "tampered", folder=tmp_path, typed="y\n"))
    assert answer.startswith(f"jokbo: {said}")
    assert not (tmp_path / "evil").exists()


def test_bytes_that_are_no_text_do_not_end_a_chat(speaker: Path) -> None:
    command = [sys.executable, "-m", "jokbo.cli", "chat", str(speaker), "--tokens", "1"]
    result = subprocess.run(command, input=b"caf\xe9\nb\n", capture_output=True)
    assert (result.returncode, result.stderr) == (0, b"")
    assert result.stdout.decode().startswith("caf\ufffd")


@pytest.mark.parametrize(("typed", "status"), [(b"\x04", 0), (b"\x03", 130)])
def test_at_a_terminal_ctrl_d_and_ctrl_c_end_a_chat(speaker: Path, typed: bytes, status: int) -> None:
    command = [sys.executable, "-m", "jokbo.cli", "chat", str(speaker)]
    ours, theirs = os.openpty()
    with subprocess.Popen(
        command,
        stdin=theirs,
        stdout=theirs,
        stderr=subprocess.PIPE,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    ) as process:
        shown = b""
        try:
            while b">" not in shown:  # until it asks
                shown += os.read(ours, 100)
            while process.poll() is None:  # a key between the prompt and the reading of it may be lost
                os.write(ours, typed)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(60)
        finally:
            process.kill()  # leaving `with` waits for it
        assert process.returncode == status
        assert process.stderr.read() == b""
    os.close(ours)
    os.close(theirs)


TEXTS = [f"Film {i} is one of the films " + "that were made that year " * (i % 4) for i in range(30)]


@pytest.fixture(scope="module", params=["joined", "padded"])
def packing(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def packed_project(packing: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a prepared corpus, and params.yaml that trains on it with a context of 16 tokens."""
    folder = tmp_path_factory.mktemp("packed")
    tree = YAML(typ="safe").load(ROOT / "params.yaml")
    tree["pretrain"] |= {"packing": packing}
    tree["pretrain"]["start"]["context"] = 90
    tree["pretrain"]["training"]["batch_size"] = 4
    YAML(typ="safe").dump(tree, folder / "params.yaml")
    tokenizer = trained(TEXTS, 300)
    rows = [document(text, "films" if i % 3 else "books") for i, text in enumerate(TEXTS)]
    write_shards(rows, folder / "data/documents/train", DOCUMENT_SCHEMA)
    mixed = encoded(folder, rows, tokenizer, ["books", "films"])
    lay_out(mixed, {"books": 2.0, "films": 1.0}, 0, folder / "data/tokens/train", 500)
    save_tokenizer(tokenizer, folder / "data/tokenizer")
    return folder


@pytest.mark.parametrize("step", [1, 7])
def test_documents_at_a_step_are_those_of_its_batch(packed_project: Path, packing: str, step: int) -> None:
    result = _jokbo("data", "at-step", str(step), "--json", folder=packed_project)
    assert result.returncode == 0, result.stderr
    sequences = json.loads(result.stdout)["sequences"]
    corpus = TokenCorpus.open(packed_project / "data/tokens/train")
    tokenizer = AutoTokenizer.from_pretrained(packed_project / "data/tokenizer")
    batch = packed_batch(corpus, step - 1, Layout(4, 90, 1, packing), padding=1)
    assert len(sequences) == len(batch) == 4
    for sequence, tokens in zip(sequences, batch, strict=True):
        pieces = tokenizer.decode(tokens).replace("<|pad|>", "").split("<|endoftext|>")
        pieces = [piece for piece in pieces if piece]
        assert len(pieces) == len(sequence["documents"])
        for piece, found in zip(pieces, sequence["documents"], strict=True):
            text = TEXTS[found["row"]]
            assert piece in text
            assert text.startswith(found["first_words"])
            assert found["source"] == ("films" if found["row"] % 3 else "books")
    plain = _jokbo("data", "at-step", str(step), folder=packed_project).stdout
    assert plain.count("sequence ") == 4
    assert plain.count(" document ") == sum(len(sequence["documents"]) for sequence in sequences)


def test_a_reader_that_goes_away_ends_it_without_a_word(packed_project: Path) -> None:
    command = [sys.executable, "-m", "jokbo.cli", "data", "at-step", "1"]
    read, write = os.pipe()
    os.close(read)  # as `head` does when it has had its lines
    result = subprocess.run(command, cwd=packed_project, stdout=write, stderr=subprocess.PIPE)
    os.close(write)
    assert (result.returncode, result.stderr) == (141, b"")


def test_a_corpus_that_is_damaged_is_one_line(packed_project: Path, tmp_path: Path) -> None:
    damaged = Path(shutil.copytree(packed_project, tmp_path / "damaged"))
    (damaged / "data/tokens/train/documents.npy").write_bytes(b"cut")
    said = _one_line(_jokbo("data", "at-step", "1", folder=damaged))
    assert said.startswith("jokbo: data/tokens/train and data/documents/train: damaged, or not of one run")


def test_steps_that_are_none(packed_project: Path) -> None:
    steps = params.read(packed_project / "params.yaml")["pretrain"]["training"]["steps"]
    for step in ("0", str(steps + 1)):
        result = _jokbo("data", "at-step", step, folder=packed_project)
        assert result.returncode == 2
        assert result.stderr == f"jokbo: step {step}: it must be from 1 to pretrain.training.steps, {steps}\n"


def test_no_corpus_to_list_documents_of(packed_project: Path, tmp_path: Path) -> None:
    shutil.copy(packed_project / "params.yaml", tmp_path)
    result = _jokbo("data", "at-step", "1", folder=tmp_path)
    assert result.returncode == 2
    assert result.stderr == "jokbo: data/tokens/train holds no token shards: run the stage tokenize\n"


def test_tree_names_parents_parameters_and_the_commit_of_each(project: Project) -> None:
    project.run("dvc", "repro", "finetune")
    result = _jokbo("tree", "models/finetune", "--all", folder=project.folder)
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True
    ).stdout.strip()
    assert result.returncode == 0, result.stderr
    assert result.stdout.count(commit) == 2
    assert "models/pretrain  by pretrain" in result.stdout
    short = _jokbo("tree", "models/finetune", folder=project.folder).stdout.splitlines()
    assert [line.partition("  by ")[0].strip(" └─") for line in short] == [
        "models/finetune",
        "models/pretrain",
    ]
    assert "finetune.seed: 1" in result.stdout


def test_report_prints_where_it_is(tmp_path: Path) -> None:
    report = tmp_path / "reports" / "report.html"
    report.parent.mkdir()
    report.touch()
    assert _jokbo("report", folder=tmp_path).stdout == f"{report}\n"


def test_run_is_the_flow_and_ends_as_it_does(project: Project) -> None:
    project.edit("params.yaml", "pretrain:\n  seed: 1", "pretrain:\n  sed: 1")
    result = _jokbo("run", "--workers", "1", folder=project.folder)
    assert result.returncode == 2
    assert "pretrain.sed" in result.stderr


def test_the_tree_of_a_model_is_shown_without_its_tracker(project: Project) -> None:
    status, output = project.run("standin", "pretrain")
    assert status == 0, output
    down = "http://me:s3cret@127.0.0.1:9"
    status, output = project.run("jokbo.cli", "tree", "models/pretrain", "--all", MLFLOW_TRACKING_URI=down)
    assert status == 0, output
    assert output.startswith("jokbo: MLflow at http://***@127.0.0.1:9 does not answer (")
    assert "commit unknown" in output
    assert "made on" in output
    assert "s3cret" not in output
    status, output = project.run("jokbo.cli", "tree", "models/pretrain", MLFLOW_TRACKING_URI="htp://x")
    assert (status, output.count("\n")) == (2, 1)


def test_where_the_runs_are_shown_is_said_if_a_server_has_them(project: Project) -> None:
    there = "http://me:s3cret@tracker.example:5000"
    status, output = project.run("jokbo.ui", MLFLOW_TRACKING_URI=there)
    assert (status, output) == (0, "The runs are at http://***@tracker.example:5000 (MLFLOW_TRACKING_URI)\n")
    status, output = project.run("jokbo.ui", MLFLOW_TRACKING_URI="htp://x")
    assert (status, output.count("\n")) == (2, 1)
    assert output.startswith("jokbo: MLFLOW_TRACKING_URI=htp://x")


def test_the_ui_serves_the_projects_store_without_its_address_among_the_arguments(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    started = []
    monkeypatch.setattr(os, "execve", lambda *arguments: started.append(arguments))
    store = project.folder / ".jokbo/mlflow.db"
    store.write_bytes(b"")  # half made: the ui makes it whole as a stage does
    ui.main()
    ((_, command, environment),) = started
    assert command[1:] == ["-m", "mlflow", "ui", "--host", "127.0.0.1", "--port", "5000", *ui.PATIENT]
    assert (
        "http://127.0.0.1:5000/#/experiments/1/runs?workflowType=machine_learning" in capsys.readouterr().out
    )
    assert project.client.get_experiment("1").tags["mlflow.experimentKind"] == "custom_model_development"
    assert environment["MLFLOW_SERVER_ALLOWED_HOSTS"] == "127.0.0.1:5000,localhost:5000"
    assert environment["MLFLOW_BACKEND_STORE_URI"] == f"sqlite:///{store}"
    assert store.stat().st_size
