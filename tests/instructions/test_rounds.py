"""Rounds of Self-Instruct with a model that writes by rule: what is kept, what is counted, and that a stopped command
goes on to the same file."""

from __future__ import annotations

import json
from collections import Counter
from fractions import Fraction
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from jokbo.cli import app
from jokbo.data.conversations import turns
from jokbo.data.fetch.sources import read_source
from jokbo.data.prepare.words import spaced
from jokbo.instructions import asking, filters, rounds
from jokbo.instructions.instructor import BATCH, Instructor
from jokbo.instructions.rounds import Place
from jokbo.instructions.writing import Writer
from jokbo.params import FilesSource
from jokbo.runtime.errors import InputError
from tests.instructions import scripted
from tests.instructions.test_filters import slow_rouge
from tests.support import adopted

COUNT = 60


def place(folder: Path, name: str = "out.jsonl", kept: str = "kept") -> Place:
    return Place(folder / name, folder / kept, "models/base", "seeds.jsonl")


def instruct(own: Instructor, where: Place, count: int = COUNT, **options: Any) -> dict[str, Any]:
    return rounds.instruct(own, where, count=count, say=lambda line: None, **options)


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A folder with a whole making, and what is known of it."""
    folder = tmp_path_factory.mktemp("done")
    return folder, instruct(scripted.instructor(folder), place(folder))


def everything(folder: Path) -> list[dict[str, Any]]:
    """All candidates, from the rounds on disk."""
    (kept,) = (folder / "kept").iterdir()
    files = sorted(kept.glob("*.json"), key=lambda file: int(file.stem))
    return [each for file in files for each in json.loads(file.read_text())]


def test_no_two_that_are_kept_are_alike(done: tuple[Path, dict[str, Any]]) -> None:
    folder, _ = done
    found = everything(folder)
    kept = [each["instruction"] for each in found if not each["left_out"]]
    seeds = [instruction for _, _, instruction in scripted.SEEDS]
    words = {each: spaced(each).split() for each in kept + seeds}
    limit = Fraction(7, 10)
    pairs = [(one, other) for one, other in combinations(kept + seeds, 2) if one in kept]
    assert all(slow_rouge(words[one], words[other]) < limit for one, other in pairs)
    alike = [each["instruction"] for each in found if each["left_out"] == filters.ALIKE]
    assert all(
        max(slow_rouge(spaced(each).split(), words[other]) for other in words) >= limit for each in alike
    )
    nearest = {each["instruction"]: each["nearest_seed"] for each in found if not each["left_out"]}
    for each in kept:
        slow = max(slow_rouge(words[each], words[seed]) for seed in seeds)
        assert nearest[each] == pytest.approx(float(slow))


def test_seven_words_of_ten_are_too_many_and_six_are_not(tmp_path: Path) -> None:
    common = "Tell us of one two three"
    kept, seven, six = (f"{common} {rest}" for rest in ("a b c d", "a e f g", "h i j k"))

    def rule(asked: str, shown: str) -> str:
        return f" {seven}\n10. {six}\n11. {six}\n\n" if asked == asking.MORE else ""

    found = scripted.instructor(tmp_path, rule).round(0, [kept])[:3]
    assert [(each.instruction, each.left_out) for each in found] == [
        (seven, filters.ALIKE),
        (six, None),
        (six, filters.ALIKE),
    ]


def test_each_kind_of_task_has_instances_of_its_own_form(done: tuple[Path, dict[str, Any]]) -> None:
    folder, _ = done
    by_verb: dict[str, set[tuple[str, str, bool]]] = {verb: set() for verb in scripted.VERBS}
    for row in lines(folder / "out.jsonl"):
        by_verb[row["instruction"].split()[0]].add((row["input"], row["output"], row["classification"]))
    assert by_verb == {
        "Name": {("", "one and two", False)},
        "Sort": {("whale", "Big", True), ("ant", "Small", True)},
        "Describe": {
            ("left", "right", False),
            ("up", "down", False),
        },  # the third is a seed's, the fourth was cut off
        "Count": set(),  # one input has two outputs
        "Compare": set(),  # it writes no input and no output
    }


def test_what_is_left_out_is_counted_by_reason(done: tuple[Path, dict[str, Any]]) -> None:
    folder, known = done
    found = everything(folder)
    kept = [each for each in found if not each["left_out"]]
    assert known["left_out"] == Counter(each["left_out"] for each in found if each["left_out"])
    assert {
        filters.ALIKE,
        filters.KEYWORD,
        filters.SHORT,
        filters.PUNCTUATION,
        filters.EMPTY,
        filters.CUT,
    } == set(known["left_out"])
    verbs = Counter(each["instruction"].split()[0] for each in kept)
    assert known["instances_left_out"] == {
        filters.UNREADABLE: verbs["Compare"],
        filters.CONFLICT: 2 * verbs["Count"],
        filters.CUT: verbs["Describe"],
        filters.COPIED: verbs["Describe"],
        filters.UNKNOWN_LABEL: verbs["Sort"],
    }
    assert (known["written"], known["kept"]) == (len(found), len(kept))
    assert known["tasks"] == len(kept) - verbs["Compare"] - verbs["Count"] >= COUNT
    assert known["instances"] == len(lines(folder / "out.jsonl"))
    assert known["classification"] == pytest.approx(verbs["Sort"] / known["tasks"], abs=1e-4)
    assert sum(known["nearest_seed"]) == known["tasks"] == sum(each["tasks"] for each in known["rounds"])
    assert known["first_words"]["sort"] == verbs["Sort"]
    assert known["words"]["instruction"] == {"mean": 6.0, "median": 6.0, "least": 6, "most": 6}
    assert json.loads((folder / "out.made.json").read_text()) == json.loads(json.dumps(known))


def test_a_model_that_always_says_no_is_told_apart_by_a_line(done: tuple[Path, dict[str, Any]]) -> None:
    _, known = done
    trust = known["kinds"]
    assert (trust["likelier_word"], trust["by_line"]) == (0.5, 1.0)
    assert -10 < trust["line"] < -5


def test_a_list_shows_six_seeds_and_two_that_were_kept(tmp_path: Path) -> None:
    shown: list[list[str]] = []

    def watches(asked: str, before: str) -> str:
        if asked == asking.MORE and (not shown or shown[-1] != before.split("\n")[1:]):
            shown.append(before.split("\n")[1:])
        return scripted.writes(asked, before)

    own = scripted.instructor(tmp_path, watches)
    kept = ["Tell what one is about", "Ask for two of these"]
    own.round(1, kept)
    seeds = {instruction for _, _, instruction in scripted.SEEDS}
    lists = {tuple(line.split(". ", 1)[1] for line in each) for each in shown}
    assert len(lists) == BATCH
    assert all(len(set(each)) == 8 and set(each) - seeds == set(kept) for each in lists)
    assert len({each.index(kept[0]) for each in lists}) > 1
    shown.clear()
    own.round(0, [])
    assert all(seeds.issuperset(line.split(". ", 1)[1] for line in each) for each in shown)


def test_a_stopped_command_goes_on_to_the_same_file(
    done: tuple[Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _ = done
    made, round_of = [], Instructor.round

    def stops(own: Instructor, number: int, kept: Any) -> Any:
        if len(made) == 1:
            raise KeyboardInterrupt
        made.append(number)
        return round_of(own, number, kept)

    monkeypatch.setattr(Instructor, "round", stops)
    with pytest.raises(KeyboardInterrupt):
        instruct(scripted.instructor(tmp_path), place(tmp_path))
    rest = (whole / "out.jsonl").read_bytes()
    assert rest.startswith((tmp_path / "out.jsonl").read_bytes())
    made.clear()
    monkeypatch.setattr(Instructor, "round", lambda *given: (made.append(given[1]), round_of(*given))[1])
    instruct(scripted.instructor(tmp_path), place(tmp_path))
    assert made[0] == 1
    assert (tmp_path / "out.jsonl").read_bytes() == rest
    assert (tmp_path / "out.made.json").read_bytes() == (whole / "out.made.json").read_bytes()


def test_a_larger_count_or_more_time_goes_on_with_the_same_file(tmp_path: Path) -> None:
    own = scripted.instructor(tmp_path)
    first = instruct(own, place(tmp_path), COUNT, seconds=0)
    assert len(first["rounds"]) == 1
    before = (tmp_path / "out.jsonl").read_text()
    more = instruct(own, place(tmp_path), first["tasks"] + 1)
    assert len(more["rounds"]) > 1
    assert (tmp_path / "out.jsonl").read_text().startswith(before)


def test_another_seed_writes_another_file(done: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    whole, _ = done
    instruct(scripted.instructor(tmp_path, seed=2), place(tmp_path), 1)
    assert not (whole / "out.jsonl").read_text().startswith((tmp_path / "out.jsonl").read_text())


def test_a_file_of_another_making_is_left_alone(tmp_path: Path) -> None:
    instruct(scripted.instructor(tmp_path), place(tmp_path), 1)
    before = (tmp_path / "out.jsonl").read_text()
    for changes in ({"seed": 2}, {"temperature": 0.5}, {"tokens": 100}):
        with pytest.raises(
            InputError, match=r"out\.jsonl: it is there already, and was not made by this model"
        ):
            instruct(scripted.instructor(tmp_path, **changes), place(tmp_path), 1)
    assert (tmp_path / "out.jsonl").read_text() == before


def test_what_is_written_is_a_source_of_conversations(
    done: tuple[Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    written = (done[0] / "out.jsonl").read_text()
    Path("data/local").mkdir(parents=True)
    Path("data/local/instructed.jsonl").write_text(written)
    fields = {"instruction": "instruction", "input": "input", "output": "output"}
    source = FilesSource.model_validate(
        {
            "licence": "made up",
            "language": "en",
            "kind": "files",
            "paths": "instructed.jsonl",
            "format": "jsonl",
            "columns": fields,
        }
    )
    read = [turns.turns_of(row["turns"]) for row in read_source("instructed", source, tmp_path, 10_000)]
    rows = lines(Path("data/local/instructed.jsonl"))
    assert [talk[-1].content for talk in read] == [row["output"] for row in rows]
    asked = {row["instruction"] + (f"\n\n{row['input']}" if row["input"] else "") for row in rows}
    assert {talk[0].content for talk in read} == asked


def test_a_model_that_writes_nothing_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError) as refused:
        instruct(scripted.instructor(tmp_path, scripted.nothing), place(tmp_path))
    said = (
        f"{rounds.IDLE} rounds in a row brought no new task ({rounds.IDLE * BATCH} times {filters.EMPTY}): "
    )
    assert str(refused.value) == said + "give another model, more seeds or a higher --temperature"


def test_a_context_that_is_too_short_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match="the seeds leave no room in the model's context of 500 tokens: shorten"
    ):
        instruct(scripted.instructor(tmp_path, context=500), place(tmp_path))
    assert not (tmp_path / "out.jsonl").exists()


def test_a_tokenizer_that_does_not_know_yes_is_one_line(tmp_path: Path) -> None:
    own = scripted.instructor(tmp_path)
    characters = scripted.tokenizer(merges=[])  # Yes and No begin with a space
    own = Instructor(Writer(own.writer.network, characters), own.seeds, own.settings)
    with pytest.raises(
        InputError, match="the model's tokenizer does not tell Yes from No: name another model"
    ):
        instruct(own, place(tmp_path))


def run(*words: str) -> Any:
    return CliRunner().invoke(app, ["instruct", *words])


def small(folder: Path) -> Path:
    return adopted.save(folder / "small", scripted.tokenizer(), max_position_embeddings=6000)


def test_the_command_says_in_one_line_that_a_model_cannot_write_tasks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has learned nothing: what it writes are letters by chance."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(rounds, "IDLE", 1)
    small(tmp_path)
    scripted.write_seeds(Path("seeds.jsonl"))
    done = run("small", "--seeds", "seeds.jsonl", "--tokens", "8", "--out", "out.jsonl")
    assert done.exit_code == 2, done.output
    first, last = done.output.splitlines()
    assert first.startswith("round 1: ")
    assert last.startswith("jokbo: 1 rounds in a row brought no new task (")
    record = json.loads(Path("out.made.json").read_text())
    assert (record["model"], record["seeds"], record["seed_tasks"]) == ("small", "seeds.jsonl", 10)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere"], "jokbo: nowhere: no config.json there"),
        (["small", "--seeds", "none.jsonl"], "jokbo: none.jsonl: no such file: put seed tasks there"),
        (["small", "--seeds", "bad.jsonl"], "jokbo: bad.jsonl:1: instruction is missing: add it"),
        (
            ["small", "--out", "mine.jsonl"],
            "jokbo: mine.jsonl: it is there already, and was not made by this",
        ),
        (
            ["small", "--tokens", "5900"],
            "jokbo: the seeds leave no room in the model's context of 6,000 tokens",
        ),
    ],
)
def test_what_is_wrong_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    small(tmp_path)
    Path("bad.jsonl").write_text('{"is_classification": false, "instances": [{"output": "a"}]}\n')
    Path("mine.jsonl").write_text("mine\n")
    done = run(*words)
    assert (done.exit_code, done.output.count("\n")) == (2, 1), done.output
    assert done.output.startswith(said)
