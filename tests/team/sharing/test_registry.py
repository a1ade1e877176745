"""Models in MLflow's registry: what a version holds, and when the champion changes."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient
from safetensors.torch import load_file, save_file

from jokbo.runtime import ancestry
from jokbo.runtime.errors import InputError
from jokbo.runtime.tracking import Subject, open_run
from jokbo.team.sharing import registry
from jokbo.team.sharing.registry import Measured


@pytest.fixture
def uri(store: str) -> Iterator[str]:
    """An empty MLflow store; MLflow's own address of this process is as it was, after."""
    before = mlflow.get_tracking_uri()
    yield store
    mlflow.set_tracking_uri(before)


def _good(value: float) -> Measured:
    return Measured("classifier/good", value, value - 0.03, value + 0.03)


def _weights_of_another_seed(model: Path) -> None:
    """Give a model other weights, and the record that says so."""
    file = model / "model.safetensors"
    found = {name: tensor * 1.5 for name, tensor in load_file(file).items()}
    save_file(found, file, metadata={"format": "pt"})
    with contextlib.chdir(model.parent.parent):
        name = Path("models") / model.name
        ancestry.made(name, stage="pretrain", key="k2", params={}, deps={}).save(name)


def test_a_version_has_all_that_is_known_and_the_champion_is_who_is_better_beyond_doubt(
    models: Path,
    uri: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shutil.copytree(models, tmp_path / "models")
    monkeypatch.chdir(tmp_path)
    model = Path("models/llama")
    with open_run(
        Subject("pretrain", "k", {}, {"git.commit": "abc"}), tracking_uri=uri, state=tmp_path
    ) as run:
        pass
    said = registry.register(model, "films", _good(0.5), uri)
    assert said == [
        f"models/llama is version 1 of films at {uri}",
        "version 1 is the champion now: classifier/good 0.500 (0.470 to 0.530)",
    ]
    client = MlflowClient(uri)
    version = client.get_model_version_by_alias("films", "champion")
    assert (str(version.version), version.run_id) == ("1", run.id)
    assert version.tags["git.commit"] == "abc"
    assert version.tags["licence"] == "unknown"
    assert "LlamaForCausalLM" in version.description
    (made,) = client.get_run(run.id).outputs.model_outputs
    assert version.source == f"models:/{made.model_id}"
    found = mlflow.pyfunc.load_model("models:/films@champion")
    assert found.metadata.signature is not None
    assert found.input_example == registry.PROMPT
    assert found.predict("The film")[0].startswith("The film")

    assert (
        registry.register(model, "films", _good(0.5), uri)[0] == "models/llama is version 1 of films already"
    )
    _weights_of_another_seed(model)
    stays = registry.register(model, "films", _good(0.53), uri)[1]
    assert stays.startswith("version 1 stays the champion: classifier/good 0.500")
    assert registry.register(model, "films", _good(0.6), uri)[1].startswith("version 2 is the champion now")
    seeds = Measured("classifier/good", 0.9, 0.85, 0.95, seeds=3)
    shutil.copytree(models / "llama", tmp_path / "models/third")
    shutil.copy(f"{models / 'llama'}.ancestry.json", tmp_path / "models/third.ancestry.json")
    assert registry.register(Path("models/third"), "films", seeds, uri) == [
        "models/third is version 1 of films already",
        "version 2 stays the champion: it was judged by one run, this by 3 seeds",
    ]
    assert client.get_model_version("films", "1").tags["jokbo.seeds"] == "3"
    again = registry.register(model, "films", Measured("classifier/good", 0.6, 0.5, 0.7, seeds=3), uri)
    assert again[1] == "version 2 is the champion: classifier/good 0.600 (0.500 to 0.700, mean of 3 seeds)"
    assert registry.register(Path("models/third"), "films", seeds, uri)[1].startswith(
        "version 1 is the champion now"
    )
    assert registry.register(model, "films", _good(0.6), uri)[1].endswith("by 3 seeds, this by one run")
    client.set_registered_model_alias("films", "champion", "2")
    other = Measured("people/good", 0.9, 0.89, 0.91)
    (_, refused) = registry.register(Path("models/llama"), "films", other, uri)
    assert refused.startswith("version 2 is the champion")  # it is that version


@pytest.mark.parametrize(
    ("ours", "theirs", "better"),
    [
        (_good(0.60), _good(0.50), True),
        (_good(0.54), _good(0.50), False),  # intervals overlap, and the difference's holds zero
        (_good(0.545), _good(0.50), True),  # they overlap, and it does not
        (_good(0.50), _good(0.60), False),
        (_good(0.50), _good(0.50), False),
        (Measured("", 0.60, 0.57, 0.63, seeds=3), Measured("", 0.55, 0.52, 0.58, seeds=3), True),
        (Measured("", 0.60, 0.57, 0.63, seeds=3), Measured("", 0.58, 0.55, 0.61, seeds=3), False),
        (Measured("", 0.90, 0.87, 0.93, seeds=3), _good(0.50), False),
    ],
)
def test_better_beyond_doubt(ours: Measured, theirs: Measured, better: bool) -> None:
    assert ours.beats(theirs) == better


def test_a_name_with_signs_of_a_shell_is_refused(uri: str) -> None:
    with pytest.raises(InputError, match=r"^--name 'x; rm -rf \.': it may have letters"):
        registry.register(Path("models/llama"), "x; rm -rf .", _good(0.5), uri)
