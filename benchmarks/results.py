"""`python -m benchmarks.results` (`make results`) writes docs/results.md and README's headline from what was run.

It reads what `python -m flows.seeds N ...` left of the chain, family/table.json, alignment/table.json,
control/table.json, scaling/table.json, profiles/*.json and docs/results/shots.jsonl, and runs nothing. Where no seed is
there, what was written of the chain stays as it is, and the rest is written anew.
"""

from __future__ import annotations

import datetime
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks import control, large, picture, shots_results
from flows.seeds import DATA, FOLDER, SHOWN
from jokbo.alignment import compared as alignment
from jokbo.comparison import table as comparison
from jokbo.comparison.verdicts import RULE
from jokbo.evaluation.evaluation import Evaluation, Scores
from jokbo.reporting import markdown
from jokbo.runtime import ancestry, environment, kept
from jokbo.runtime.files import write_text
from jokbo.scaling import figures, runs
from jokbo.scaling import results as scaling_results
from tasks.frame.paths import ALIGNED, ALIGNMENT, EVALUATION, FAMILY, KEPT_TABLE, METRICS, PROFILES

PAGE, README, PICTURE = Path("docs/results.md"), Path("README.md"), Path("docs/chain.svg")
FIGURES = Path("docs/results")
GPU = Path("docs/results/gpu.md")  # written by benchmarks.gpu, on the machine that has one
BEGIN, END = "<!-- `make results` writes this -->", "<!-- to here -->"
COLUMNS: dict[str, tuple[str, Callable[[float], str]]] = {
    "perplexity": ("perplexity", "{:.1f}".format),
    "judged good": ("good", "{:.0%}".format),
    "wins against supervised": ("win_rate", "{:.0%}".format),
    "wins at like length": ("length_matched_win_rate", "{:.0%}".format),
    "tokens a response": ("length", "{:.1f}".format),
    "KL, nats": ("kl", "{:.1f}".format),
    "distinct-2": ("distinct_2", "{:.2f}".format),
}
MODELS = ("base", "supervised", "distilled", "aligned")
SAMPLES = 4
INTRODUCTION = """# Results

Written by `make results` from what was run; not by hand."""
CHAIN, OTHER_TEXT = "## The chain", "## Base models of the profiles, on held-out text"
MEANING = """Perplexity is of the words of people's own continuations, without the end of text. Good, and wins, are what
the judge says that `evaluate.judges` names first; a classifier there has seen no text of any other stage. Wins at like
length are over the prompts where both responses have about as many tokens (`evaluate.matched_tokens`). KL is from the
supervised model, a whole response. distinct-2 is over equally many word pairs of each model. A pair of figures is the
least and the largest over the seeds."""


class Chain:
    """What the chain came to with each of some seeds."""

    def __init__(self, folders: list[Path]) -> None:
        self.folders = folders
        self.evaluations = [Evaluation.load(folder / METRICS / "evaluate.json") for folder in folders]

    def metrics(self, stage: str) -> dict[str, Any]:
        """Return those of a stage, with the first of the seeds."""
        return json.loads((self.folders[0] / METRICS / f"{stage}.json").read_text("utf-8"))

    def made_in(self) -> str:
        """Return on which machines the runs were made, and when the last one was, as far as they wrote it down."""
        files = {folder.name: Path(f"{folder / ALIGNED}{ancestry.SUFFIX}") for folder in self.folders}
        there = {name: file for name, file in files.items() if file.is_file()}
        machines = {}
        for file in there.values():
            found = json.loads(file.read_text("utf-8"))["environments"][-1]
            machines[f"{found['cores']} cores: {environment.summary(found)}"] = file.stat().st_mtime
        said = [
            f"{machine} (until {datetime.date.fromtimestamp(ended).isoformat()})"
            for machine, ended in machines.items()
        ]
        unknown = [name for name in files if name not in there]
        said += [f"seed {', '.join(unknown)}: as DVC's cache had it"] * bool(unknown)
        return f"Measured on {'; '.join(said)}."

    def headline(self) -> str:
        """Return the four models."""
        return _markdown(["model", *COLUMNS], [[name, *self._row(name)] for name in MODELS])

    def _row(self, name: str) -> Iterator[str]:
        for key, shown in COLUMNS.values():
            yield _range([_measure(found, name, key) for found in self.evaluations], shown)

    def samples(self) -> str:
        """Return the first prompts of the first seed, as supervised and aligned model go on."""
        with (self.folders[0] / EVALUATION / "samples.jsonl").open(encoding="utf-8") as file:
            rows = [json.loads(next(file)) for _ in range(SAMPLES)]
        keys = ("prompt", "supervised", "aligned")
        return _markdown(["prompt", "before", "after"], [[row[key] for key in keys] for row in rows])

    def more(self) -> str:
        """Return what else the run with the first seed says of itself."""
        base, reward = self.metrics("pretrain"), self.metrics("reward")["human"]
        labellers = self.metrics("preferences")["labellers"].values()
        differ = next(found["disagreement"] for found in labellers if found["disagreement"])
        classifier = self.metrics("tasks")["tasks"]["rotten_tomatoes"]["classifiers"]
        held_out, accuracy = base["validation"], reward["accuracy"]
        student, teacher = (self.evaluations[0].student[who] for who in ("student", "teacher"))
        main = self.evaluations[0].main
        names = {
            "pretrained": "pretrained",
            "scratch": "from scratch",
            "naive_bayes": "naive Bayes",
        }
        rows = {
            "pretrained model, held-out reviews": f"{held_out['nats_per_token']:.2f} nats a token, "
            f"{held_out['bits_per_byte']:.2f} bits a byte, after {base['tokens'] / 1e6:.1f}M tokens",
            f"reward model on {reward['comparisons']:,} unseen comparisons by people, of {reward['texts']:,} texts": (
                f"accuracy {accuracy['value']:.3f}, standard error {accuracy['standard_error']:.3f}; "
                f"calibration error {reward['calibration_error']['value']:.3f}"
            ),
            "two raters of one held-out pair disagree": f"people {differ['human']['value']:.2f}, "
            f"simulated raters {differ['simulated']['value']:.2f}",
            "student against teacher": f"{student.parameters / teacher.parameters:.0%} of the parameters without "
            f"embeddings, perplexity {student.perplexity:.1f} against {teacher.perplexity:.1f}",
            "classifier, test accuracy": ", ".join(
                f"{shown} {classifier[name]['test']['accuracy']['value']:.3f}"
                for name, shown in names.items()
            ),
        }
        if main and main.trust:
            rows["the judge's own accuracy"] = ", ".join(
                f"{part} of {source.replace('_', ' ')} {found.right['value']:.2f}"
                for source, parts in main.trust.items()
                for part, found in parts.items()
            )
        return _markdown(["what", "measured"], [[*row] for row in rows.items()])


def large_comparison() -> str:
    """Return the rows that `python -m benchmarks.large` left, as its own table."""
    rows = FAMILY / large.ROWS
    return f"{_when(rows)}\n\n{large.table(rows)}"


def compared() -> str:
    """Return the comparison of the systems, and its claims, from family/table.json."""
    found = _kept(FAMILY)
    if found is None:
        return f"Not measured yet: `make family` does, and leaves {FAMILY / KEPT_TABLE}."
    systems, tasks, claims = comparison.tables(found)
    parts = [
        f"{each.caption}.\n\n{each.markdown(texts).strip()}"
        for each, texts in ((systems, 3), (tasks, 1), (claims, 5))
    ]
    return "\n\n".join([_measured(found), comparison.unseen(found), *parts, RULE])


def baselines() -> str:
    """Return PPO and its baselines, from alignment/table.json."""
    found = _kept(ALIGNMENT)
    if found is None:
        return f"Not measured yet: `make alignment` does, and leaves {ALIGNMENT / KEPT_TABLE}."
    table = alignment.table(found)
    measured = f"{_measured(found)} By `align` of params.yaml as it was that day."
    return f"{measured}\n\n{table.caption}\n\n{table.markdown().strip()}"


def scaling() -> str:
    """Return the scaling laws, from scaling/table.json and scaling/runs.csv; write their figures."""
    table, rows = scaling_results.TABLE, scaling_results.RUNS
    if not (table.is_file() and rows.is_file()):
        return f"Not measured yet: `python -m flows.scaling` does, and leaves {table} and {rows}."
    found, read = json.loads(table.read_text("utf-8")), runs.read(rows)[0]
    charts = figures.charts(found["fit"], read)
    paths = figures.save(charts, FIGURES)
    shown = [
        f"![{chart.alt}]({path.relative_to(PAGE.parent)})" for chart, path in zip(charts, paths, strict=True)
    ]
    return "\n\n".join([_measured(found), *map(str.strip, scaling_results.told(found["fit"], read)), *shown])


def profiles() -> str:
    """Return the base model of each profile on held-out text."""
    rows = []
    for path in sorted(PROFILES.glob("*.json")):
        whole = json.loads(path.read_text("utf-8"))
        found = whole["pretrain"]["validation"]
        rows.append(
            [path.stem, f"{found['nats_per_token']:.2f}", f"{found['bits_per_byte']:.2f}", kept.when(whole)]
        )
    return _markdown(["profile", "nats a token", "bits a byte", "measured"], rows)


def _kept(folder: Path) -> dict[str, Any] | None:
    """Return the table that an optional graph left for git; None if it has left none. A broken one is an error."""
    path = folder / KEPT_TABLE
    return json.loads(path.read_text("utf-8")) if path.is_file() else None


def _measured(found: Mapping[str, Any]) -> str:
    return f"Measured {kept.when(found)}."


def _when(folder: Path) -> str:
    command = ["git", "log", "-1", "--format=%cs, commit %h", "--", f":(glob){folder}/**/*.json"]
    found = subprocess.run(command, capture_output=True, text=True).stdout.strip()
    return f"Last measured before {found or 'nobody knows when'}"


def _measure(found: Evaluation, model: str, key: str) -> float | None:
    """Return a number of a model: by the main judge if it is a judge's, None where there is none."""
    if key in Scores.__dataclass_fields__:
        return getattr(found.models[model], key)
    return getattr(found.main.models[model], key) if found.main else None


def _range(values: list[float | None], shown: Callable[[float], str]) -> str:
    numbers = [value for value in values if value is not None]
    return " to ".join(dict.fromkeys(map(shown, (min(numbers), max(numbers))))) if numbers else ""


def _markdown(header: list[str], rows: list[list[str]]) -> str:
    return markdown.table(header, [[" ".join(cell.split()) for cell in row] for row in rows])


def main() -> None:
    seeds = sorted(FOLDER.glob(f"*/{METRICS}/evaluate.json"), key=lambda path: int(path.parts[-3]))
    told = of_seeds(Chain([path.parents[1] for path in seeds])) if seeds else as_it_stands()
    parts = [
        INTRODUCTION,
        told,
        OTHER_TEXT,
        profiles(),
        "## PPO and its baselines",
        baselines(),
        "## Scaling laws",
        scaling(),
        "## The systems of the literature, at 3.5e14 FLOPs each",
        large_comparison(),
        "## The systems of the literature, at 3.5e12 FLOPs each",
        compared(),
        "## Without training",
        shots_results.section(),
        "## Control tasks",
        control.written(),
    ]
    if GPU.is_file():
        parts += [
            "## On a GPU",
            f"[What one gives]({GPU.relative_to(PAGE.parent)}): `python -m benchmarks.gpu`.",
        ]
    write_text(PAGE, "\n\n".join(parts) + "\n")
    print(f"{PAGE} is written")


def of_seeds(chain: Chain) -> str:
    """Return the page's part on the chain; write README's headline and the picture of the chain."""
    before, begin, rest = README.read_text("utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        sys.exit(f"jokbo: {README} lacks the lines {BEGIN} and {END}: put them back")
    seeds = [folder.name for folder in chain.folders]
    made_in = f"Seeds {', '.join(seeds)}, each from pretraining on. {chain.made_in()}"
    shown = "\n\n".join([BEGIN, made_in, chain.headline(), chain.samples(), END])
    write_text(README, before + shown + after)
    metrics = {stage: chain.metrics(stage) for stage in (*DATA, "preferences", *SHOWN)}
    write_text(PICTURE, picture.svg(picture.numbers(metrics, chain.evaluations[0])))
    print(f"{PICTURE} and the headline of {README} are written, from seeds {', '.join(seeds)}")
    parts = [CHAIN, made_in, chain.headline(), MEANING]
    parts += [f"The first prompts of seed {seeds[0]}, not chosen:", chain.samples()]
    parts += [f"What else the run with seed {seeds[0]} says of itself:", chain.more()]
    return "\n\n".join(parts)


def as_it_stands() -> str:
    """Return the page's part on the chain as it stands."""
    _, begin, rest = (PAGE.read_text("utf-8") if PAGE.is_file() else "").partition(CHAIN)
    part, end, _ = rest.partition(OTHER_TEXT)
    if not (begin and end):
        sys.exit(f"jokbo: {FOLDER}: no run is there: `python -m flows.seeds 1 2 3` makes them")
    print(f"{FOLDER}: no run is there: the chain's part and {README} stay as they are")
    return (begin + part).strip()


if __name__ == "__main__":
    main()
