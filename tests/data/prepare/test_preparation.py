from __future__ import annotations

import hashlib
import itertools
import json
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from datasets import load_from_disk

from jokbo import params
from jokbo.data import shards
from jokbo.data.counts import Counts, SourceCounts
from jokbo.data.files.rows import RAW_SCHEMA
from jokbo.data.keys import digest, normalised, split_of
from jokbo.data.prepare import preparation
from jokbo.data.prepare.documents import DOCUMENT_SCHEMA
from jokbo.data.shards import Tally, total
from jokbo.data.tables import assemble, write_shards
from jokbo.runtime.errors import InputError

ROOT = Path(__file__).parents[3]
WORDS = [
    a + b
    for a in ("fil", "sto", "act", "sce", "mus", "cam")
    for b in ("m", "ry", "or", "ne", "ic", "era", "ing")
]


def settings(**changes: object) -> params.Prepare:
    given = params.load(ROOT / "params.yaml").prepare
    quality = given.quality.model_copy(update={"sources": ["long"]})
    near = given.near_duplicates.model_copy(update={"sources": ["long"]})
    return given.model_copy(update={"quality": quality, "near_duplicates": near, **changes})


def review(rng: random.Random, words: int = 80) -> str:
    return "the " + " ".join(rng.choice(WORDS) for _ in range(words)) + f" and that is number {rng.random()}."


def row(text: str, source: str = "long", label: int | None = None) -> dict:
    named = None if label is None else str(label)
    return {"text": text, "source": source, "label": named, "ratings": None}


def corpus() -> dict[str, list[dict]]:
    """Return rows of two tables: long and short texts, twins in and across tables, near-twins, rows to drop."""
    rng = random.Random(5)
    long = [row(review(rng), label=i % 2) for i in range(120)]
    near = [
        row(text["text"].replace("number", "no", 1).replace("the ", "a ", 1), label=1) for text in long[:20]
    ]
    short = [row(f"this short text has number {i}", "short", i % 2) for i in range(200)]
    twins = [row(text["text"], "twin") for text in long[20:40] + short[:30]]
    variants = [row(f"{text['text']} :)", "variant", 1 - int(text["label"])) for text in short[30:60]]
    poor = [row("!!!"), row("one two", "short"), row("too few words for a document"), row("dog " * 60)]
    foreign = row(
        "Der schnelle braune Fuchs springt heute wieder einmal über den faulen alten Hund.", "short"
    )
    private = row("write to jane.doe@example.com if this text pleased you", "short")
    return {"one": long + poor + [foreign], "two": near + short + twins + variants + [private]}


def prepared(
    folder: Path,
    tables: dict[str, list[dict]],
    *,
    workers: int = 1,
    bytes_a_shard: int = 10_000,
    **changes: object,
) -> tuple[dict[str, list[dict]], Counts]:
    raw = {name: folder / "raw" / name for name in tables}
    for name, rows in tables.items():
        write_shards(rows, raw[name], RAW_SCHEMA, shard_bytes=bytes_a_shard)
    with shards.processes(workers) as parallel_map:
        splits, counts = preparation.prepare(raw, settings(**changes), folder / "work", parallel_map)
    for split, files in splits.items():
        assemble(files, folder / "out" / split, DOCUMENT_SCHEMA)
    return {split: load_from_disk(folder / "out" / split).to_list() for split in splits}, counts


@pytest.fixture(autouse=True)
def small_partitions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparation, "PARTITION_BYTES", 20_000)


def everything(splits: dict[str, list[dict]]) -> list[dict]:
    return [document for split in splits.values() for document in split]


def test_every_row_is_in_one_document_or_counted(tmp_path: Path) -> None:
    splits, counts = prepared(tmp_path, corpus())
    documents = everything(splits)
    assert len({document["text"] for document in documents}) == len(documents)
    keys = {split: {normalised(document["text"]) for document in splits[split]} for split in splits}
    assert not [both for both in itertools.combinations(keys.values(), 2) if both[0] & both[1]]
    dropped = {(s, r): n for s, found in counts.sources.items() for r, n in found.dropped.items()}
    assert dropped["long", "near_duplicate"] == 20
    assert {reason for source, reason in dropped if source == "long"} == {
        "wordless",
        "words",
        "stop_words",
        "near_duplicate",
    }
    assert (dropped["short", "short"], dropped["short", "language"]) == (1, 1)
    for source, found in counts.sources.items():
        of_it = [document for document in documents if source in document["sources"]]
        assert found.documents == len(of_it)
        assert found.words == sum(len(document["text"].split()) for document in of_it)
        assert found.bytes == sum(len(document["text"].encode()) for document in of_it)
        left_out = sum(found.dropped.values())
        assert found.rows == found.documents + left_out + found.repeated
    assert counts.merged == 50
    assert counts.sources["variant"].documents == 30
    assert counts.sources["short"].masked["email"] == 1
    assert "write to <email> if this text pleased you" in {document["text"] for document in documents}
    assert {split: counts.splits[split]["all"] for split in splits} == {k: len(v) for k, v in splits.items()}
    assert len(counts.examples["near_duplicate"]) == 5
    assert counts.examples["language"][0][1:] == ("short", corpus()["one"][-1]["text"])


def rows_of(table: str) -> dict[str, int]:
    return dict(Counter(row["source"] for row in corpus()[table]))


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in (folder / "out").rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_processes_order_of_rows_names_of_files_and_size_of_shards_decide_nothing(tmp_path: Path) -> None:
    tables = corpus()
    _, counts = prepared(tmp_path / "a", tables)
    _, again = prepared(tmp_path / "b", tables, workers=2)
    turned = {"zz": tables["one"][::-1], "aa": tables["two"][::-1]}
    _, other = prepared(tmp_path / "c", turned, bytes_a_shard=25_000)
    assert digests(tmp_path / "a") == digests(tmp_path / "b") == digests(tmp_path / "c")
    assert counts == again
    assert counts.tables == {"one": rows_of("one"), "two": rows_of("two")}
    assert other.tables == {"zz": rows_of("one"), "aa": rows_of("two")}
    assert counts == replace(other, tables=counts.tables)


def test_the_number_of_partitions_decides_no_document(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    splits, counts = prepared(tmp_path / "a", corpus())
    assert len(list((tmp_path / "a/work/merge").glob("*.json"))) > 2
    monkeypatch.setattr(preparation, "PARTITION_BYTES", 1 << 30)
    assert prepared(tmp_path / "b", corpus()) == (splits, counts)


def test_a_text_that_a_step_cannot_take_is_left_out_and_named(tmp_path: Path, broken: str) -> None:
    rows = [row(f"this short text has number {i}", "short", 1) for i in range(50)]
    rows[17] = row(f"this is the {broken} text, of jane.doe@example.com", "short")
    splits, counts = prepared(tmp_path, {"one": rows})
    assert len(everything(splits)) == 49
    assert counts.sources["short"].dropped == {"failed_language": 1}
    ((_, source, what, text),) = counts.examples["failed_language"]
    assert (source, what) == ("short", "one/data-00000.arrow, row 17: ValueError: not this one")
    assert text == "this is the broken text, of <email>"


def test_a_step_that_fails_on_many_texts_is_at_fault_itself(tmp_path: Path, broken: str) -> None:
    rows = [row(f"this short text has number {i}", "short", 1) for i in range(50)]
    some = [row(f"this is the {broken} text {i}", "short") for i in range(11)]
    with pytest.raises(
        InputError, match=r"language failed on 11 of 61 documents.*row \d+: ValueError: not this"
    ):
        prepared(tmp_path / "a", {"one": [*rows, *some]})
    with pytest.raises(InputError, match=r"language failed on 3 of 3 documents"):
        prepared(tmp_path / "b", {"one": some[:3]})
    splits, _ = prepared(tmp_path / "c", {"one": [*rows, *some]}, maximum_failed=0.2)
    assert len(everything(splits)) == 50


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> str:
    """Return a word on which telling the language fails: no real text is known on which a step fails."""
    identify = preparation.language.identify

    def fails(texts: list[str], **options: object) -> list[str]:
        if "broken" in texts[0]:
            raise ValueError("not this one")
        return identify(texts, **options)

    monkeypatch.setattr(preparation.language, "identify", fails)
    return "broken"


def test_texts_that_have_stopped_steps_are_taken(tmp_path: Path) -> None:
    """A number that Python does not read, NULs, halves of pairs as entities, nesting, signs by the thousand."""
    odd = [
        "&#" + "1" * 5000 + ";",
        "\0" * 9,
        "&#xD800;",
        "<div>" * 5000,
        "\u202e\u2066",
        "👨‍👩‍👧‍👦" * 500,
        "a" * 10**5,
        "²³" * 99,
    ]
    rows = [row(f"this text is odd {text} number {i}", "short") for i, text in enumerate(odd)]
    for clean in (settings().clean, [], ["unicode", "boilerplate_lines", "missing_spaces"]):
        splits, counts = prepared(tmp_path / f"{len(clean)}", {"one": rows}, clean=clean, languages=[])
        assert len(everything(splits)) + counts.sources["short"].dropped.get("unlabelled", 0) == len(odd)


@pytest.mark.parametrize("masks", [["email", "phone", "ip"], []])
def test_no_example_of_what_was_left_out_shows_personal_data(tmp_path: Path, masks: list[str]) -> None:
    private = [
        "jane.doe@example.com",
        "jane&#64;example.com",
        "https://a.b/?m=jane%40example.com",
        "8.8.8.8",
        "212-456-7890",
    ]
    rng = random.Random(3)
    long = [review(rng) for _ in private]
    rows = [row(f"{text} {long[i]}") for i, text in enumerate(private)]
    rows += [row(f"{text} {long[i].replace('the ', 'a ', 1)}") for i, text in enumerate(private)]
    rows += [row(text, "short") for text in private]
    rows += [
        row(f"Der schnelle braune Fuchs springt heute wieder einmal über den faulen Hund {text}", "short")
        for text in private
    ]
    rows += [row("the dog and the cat " * 20 + text) for text in private]
    rows += [row(f"{'x' * 280} {text} and so on", "short") for text in private]
    _, counts = prepared(tmp_path, {"one": rows}, personal_data=masks)
    assert {"short", "language", "near_duplicate"} < counts.examples.keys()
    shown = json.dumps(counts.examples)
    assert not [text for text in ("jane", "8.8.8", "7890") if text in shown]
    assert all(f"<{kind}>" in shown for kind in ("email", "ip", "phone"))


def test_pairs_keep_their_other_text_cleaned_and_without_personal_data(tmp_path: Path) -> None:
    text = "this text has more than one partner"
    others = ["write to jane.doe@example.com  now", "the second &amp; last"]
    rows = [{**row(text, "short", label), "others": [other]} for label, other in enumerate(others)]
    splits, counts = prepared(tmp_path, {"one": [*rows, rows[0], row(text, "short", 1)]})
    (split,) = [split for split in splits if splits[split]]
    found = {tuple(each["others"] or ()): each["label"] for each in splits[split]}
    assert found == {("write to <email> now",): "0", ("the second & last",): "1", (): "1"}
    assert counts.conflicting_labels == 0


def test_rows_of_one_text_and_two_labels_are_counted(tmp_path: Path) -> None:
    rows = [row("this text is liked by some", "short", label) for label in (0, 1, 1)]
    _, counts = prepared(tmp_path, {"one": rows})
    assert counts.conflicting_labels == counts.sources["short"].conflicting_labels == 1
    assert counts.sources["short"].repeated == 2


def test_near_duplicates_stay_if_they_are_to(tmp_path: Path) -> None:
    near = settings().near_duplicates
    one, _ = prepared(tmp_path / "a", corpus())
    both, counts = prepared(tmp_path / "b", corpus(), near_duplicates=near.model_copy(update={"drop": False}))
    more = {d["text"] for d in everything(both)} - {d["text"] for d in everything(one)}
    assert len(more) == 20
    assert counts.near_duplicates == 20
    assert len(counts.examples["near_duplicate"]) == 5


def test_what_shares_thirteen_words_with_an_evaluation_text_is_not_trained_on(tmp_path: Path) -> None:
    rng = random.Random(9)
    base = [row(review(rng), label=0) for _ in range(60)]
    first, _ = prepared(tmp_path / "a", {"one": base})
    held_out, judge = first["test"][0]["text"], first["judge"][0]["text"]
    quotes = []
    for text, length in itertools.product((held_out, judge), (12, 13)):
        quote = " ".join(text.split()[20 : 20 + length])
        quotes += [row(f"{review(rng)} {quote} {i} {review(rng)}") for i in range(20)]
    # a text that quotes the judge's counts as evaluated on if it falls in such a split itself
    shares = settings().splits.model_dump()
    quotes = [quote for quote in quotes if split_of(digest(normalised(quote["text"]), 1), shares) == "train"]
    splits, counts = prepared(tmp_path / "b", {"one": base, "two": quotes})
    train = [document["text"] for document in splits["train"]]
    assert not [text for text in train if " ".join(held_out.split()[20:33]) in text]
    assert [text for text in train if " ".join(held_out.split()[20:32]) in text]
    assert [text for text in train if " ".join(judge.split()[20:33]) in text]  # `splits` does not name judge
    assert counts.sources["long"].dropped["contaminated"] >= 5
    assert held_out in {document["text"] for document in splits["test"]}


def test_unlabelled_texts_of_the_judge_are_nobodys(tmp_path: Path) -> None:
    rows = [row(f"this short text has number {i}", "short", (0, 1, None)[i % 3]) for i in range(300)]
    splits, counts = prepared(tmp_path, {"one": rows})
    assert {document["label"] for document in splits["judge"]} == {"0", "1"}
    assert counts.sources["short"].dropped["unlabelled"] > 0
    assert {document["label"] for document in splits["train"]} == {"0", "1", None}


def test_nothing_left_is_still_a_table(tmp_path: Path) -> None:
    splits, counts = prepared(tmp_path, {"one": [row("!!!")]})
    assert everything(splits) == []
    assert counts.sources["long"] == SourceCounts(rows=1, dropped={"wordless": 1})


def test_examples_that_stay_do_not_depend_on_where_they_were_found() -> None:
    ranks = [hashlib.md5(bytes([i])).digest() for i in range(100)]
    tallies = [Tally() for _ in range(7)]
    for i, rank in enumerate(ranks):
        tallies[i % 7].example("short", rank, "source", f"text {i}")
        tallies[i % 7].add("dropped", "short")
    whole = total([tally.counts() for tally in tallies])
    assert whole["dropped"]["short"] == 100
    assert [rank for rank, *_ in whole["examples"]["short"]] == sorted(rank.hex() for rank in ranks)[:5]


def talk(*contents: str) -> dict:
    roles = itertools.cycle(["user", "assistant"])
    turns = [{"role": role, "content": text} for role, text in zip(roles, contents, strict=False)]
    return {**row("\n\n".join(contents), "talk"), "turns": turns}


def test_the_turns_of_a_conversation_are_cleaned_one_by_one_and_kept(tmp_path: Path) -> None:
    said = talk("Where do I <b>write</b> to?", "To jane.doe@example.com, please &amp; thank you.")
    again = talk("Where do I write to?", "TO jane.doe@example.com, please & thank you!")
    splits, counts = prepared(tmp_path, {"one": [said, said, again, row("a text of four words", "short")]})
    by_source = {
        source: [d for d in everything(splits) if d["sources"] == [source]] for source in ("talk", "short")
    }
    assert [d["turns"] for d in by_source["short"]] == [None]
    first, second = sorted(by_source["talk"], key=lambda document: len(document["text"]))
    for document in (first, second):
        question, answer = document["turns"]
        assert (question["role"], question["content"]) == ("user", "Where do I write to?")
        assert "jane.doe" not in answer["content"]
        assert "<b>" not in document["text"]
        assert document["text"] == f"{question['content']}\n\n{answer['content']}"
    # the same but for case and signs: two documents, in one split
    assert len({split for split, documents in splits.items() for d in documents if d["turns"]}) == 1
    assert counts.sources["talk"].masked["email"] == 3


def test_a_conversation_with_a_turn_of_which_nothing_is_left_is_dropped(tmp_path: Path) -> None:
    _, counts = prepared(
        tmp_path, {"one": [talk("What is to be done here?", "<br>"), row("a text of four words")]}
    )
    assert counts.sources["talk"].dropped == {"empty_turn": 1}
