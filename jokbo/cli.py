"""The `jokbo` command."""

from __future__ import annotations

import json
import sys
import webbrowser
from collections.abc import Iterator
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from jokbo.command import STATE, hand_over, in_one_line
from jokbo.exporting import Kind, Precision
from jokbo.labelling.commands import label
from jokbo.prompting.commands import evaluate, shots
from jokbo.runtime import files
from jokbo.runtime.errors import InputError
from jokbo.scaling.commands import scaling
from jokbo.team import runs
from jokbo.team.comparing.commands import tree
from jokbo.team.sharing.commands import team

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

REPORT = Path("reports/report.html")
DOCUMENTS, TOKENS = Path("data/documents/train"), Path("data/tokens/train")
PREFERENCES = Path("data/preferences")
FIRST_WORDS = 8  # shown of a document

app = typer.Typer(
    help="Language models from raw text to human preference, and the book of who descends from whom.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
data = typer.Typer(help="What the models were trained on.", no_args_is_help=True)
app.add_typer(data, name="data")
preferences = typer.Typer(help="What people and others prefer.", no_args_is_help=True)
app.add_typer(preferences, name="preferences")
app.add_typer(label, name="label")
app.add_typer(team, name="team")
app.add_typer(scaling, name="scaling")
app.command()(tree)
app.command()(shots)
app.command("eval")(evaluate)
# what knows the whole project goes on as its flow
OF_PROJECT = {
    "run": ("flows.pipeline", "Bring every stage up to date (python -m flows.pipeline; options go to it)."),
    "diff": (
        "flows.project.diff",
        "Say what differs between two runs, models or revisions (--help: how they are named).",
    ),
    "reproduce": (
        "flows.project.reproduce",
        "Run again what a run ran; say whether it came out the same, else where not and why (--help: how).",
    ),
    "doctor": (
        "flows.project.doctor",
        "Say what of this machine and project is wrong, and what to do (--json: for machines; --memory: reckon it).",
    ),
    "clean": (
        "flows.project.clean",
        "Show what runs have left and nobody needs, and remove it (--yes: unasked; also --cache, --profiles, --runs).",
    ),
}
for _name, (_module, _says) in OF_PROJECT.items():
    hand_over(app, _name, _module, says=_says)
Model = Annotated[Path, typer.Argument(help="The folder of a model, such as models/aligned.")]


@app.command()
@in_one_line
def chat(
    model: Model,
    temperature: Annotated[float, typer.Option(min=0.0, help="0 takes the likeliest token each time.")] = 0.8,
    tokens: Annotated[int, typer.Option(min=1, help="The most tokens to add to a prompt.")] = 60,
    seed: Annotated[
        int, typer.Option(min=0, max=2**64 - 1, help="The same seed gives the same continuations.")
    ] = 1,
    plain: Annotated[
        bool, typer.Option("--plain", help="Go on with texts, though the model has a chat template.")
    ] = False,
    system: Annotated[str | None, typer.Option(help="What the conversation begins with.")] = None,
) -> None:
    """Answer in a conversation if the model has a chat template, else go on with texts.

    It reads what is typed until an empty line, or the lines of standard input.
    """
    if not (temperature == 0 or 0.001 <= temperature <= 1000):
        raise InputError(f"--temperature is {temperature:g}: give 0, or from 0.001 to 1000")
    tokenizer, network = _opened(model)
    talks = bool(tokenizer.chat_template) and not plain
    if system is not None and not talks:
        why = "--plain goes on with texts" if plain else f"{model} has no chat template"
        raise InputError(f"--system: {why}: leave it out")
    import torch

    from jokbo.chat import Conversation, Speaker, Unanswered, continuation

    speaker = Speaker(tokenizer, network, temperature, tokens)
    conversation = Conversation(speaker, system) if talks else None
    torch.manual_seed(seed)
    for typed in _typed(
        "Say something: the model answers." if talks else "Type the beginning of a text: the model goes on."
    ):
        try:
            said = conversation.answer(typed) if conversation else continuation(speaker, typed)
        except Unanswered as reason:
            print(f"jokbo: {reason}", file=sys.stderr)
            continue
        before = "" if conversation else typed
        if sys.stdin.isatty():
            Console().print(Text.assemble((before, "dim"), said), end="\n\n")  # wrapped between words
        else:
            print(f"{before}{said}", flush=True)


@app.command()
@in_one_line
def export(
    model: Model,
    to: Annotated[
        Kind, typer.Option(help="folder: transformers, vLLM; gguf: llama.cpp; onnx: ONNX Runtime.")
    ],
    out: Annotated[
        Path | None, typer.Option(help="The folder to write; exports/NAME-FORM by default.")
    ] = None,
    precision: Annotated[
        Precision | None, typer.Option(help="Of the weights in GGUF; fp32 by default.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an export that is there.")] = False,
) -> None:
    """Write a model, its card and its ancestry as a folder that needs nothing of this project."""
    if precision and to != "gguf":
        raise InputError(f"--precision {precision}: only --to gguf takes it: leave it out")
    from jokbo.exporting import export as exporting

    folder = out or Path("exports") / f"{model.resolve().name}-{to}"
    exporting.export(model, exporting.Target(folder, to, precision or "fp32", force), runs.commits())
    print(folder)


@app.command()
@in_one_line
def revise(
    model: Model,
    questions: Annotated[
        Path, typer.Argument(help="txt, a question a line; or jsonl with prompt or messages.")
    ],
    out: Annotated[Path, typer.Option(help="The jsonl file to write.")] = Path("data/local/revised.jsonl"),
    constitution: Annotated[
        Path | None, typer.Option(help="A YAML file of principles; those of jokbo by default.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Of critique and revision.")] = 1,
    tokens: Annotated[int, typer.Option(min=1, help="The most of an answer, critique or revision.")] = 200,
    temperature: Annotated[float, typer.Option(min=0.001, help="At which the model is sampled.")] = 1.0,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="The same seed writes the same file.")] = 1,
) -> None:
    """Have a model answer, criticise its answer by principles and write it again: conversations to fine-tune on.

    Stopped, the same command goes on.
    """
    if not questions.is_file():
        raise InputError(f"{questions}: no such file: put the questions there")
    if out.exists():
        raise InputError(f"{out}: it is there already: take it away, or give another --out")
    from jokbo import revision
    from jokbo.data.conversations.own import own_prompts
    from jokbo.feedback import constitution as principles
    from jokbo.models import access

    drawn_from = principles.revisions(constitution or principles.OURS)
    asked = list(own_prompts(questions))
    tokenizer, network = _opened(model)
    settings = revision.Settings(rounds, tokens, temperature, seed)
    reviser = revision.Reviser(access.accelerated(network), tokenizer, drawn_from, settings)
    left_out = revision.revise(reviser, asked, out, STATE / "revised")
    record = out.with_suffix(".made.json")
    files.write_text(record, json.dumps(revision.made(reviser, asked, model, left_out), indent=1) + "\n")
    for why, count in left_out.most_common():
        print(f"{count:,} of {len(asked):,} questions are left out: {why}")
    print(f"{len(asked) - left_out.total():,} conversations: {out}; what they were made from: {record}")


@app.command()
@in_one_line
def instruct(
    model: Model,
    seeds: Annotated[
        Path | None, typer.Option(help="A jsonl file of seed tasks; those of jokbo by default.")
    ] = None,
    out: Annotated[Path, typer.Option(help="The jsonl file to write.")] = Path("data/local/instructed.jsonl"),
    count: Annotated[int, typer.Option(min=1, help="Of tasks; more go on with the same file.")] = 500,
    minutes: Annotated[
        float | None, typer.Option(min=0.1, help="After which it stops, to be gone on with.")
    ] = None,
    tokens: Annotated[int, typer.Option(min=1, help="The most of the instances of a task.")] = 150,
    temperature: Annotated[float, typer.Option(min=0.001, help="At which instructions are sampled.")] = 0.7,
    top_p: Annotated[
        float, typer.Option(min=0.001, max=1.0, help="Of their tokens: the likeliest, up to this share.")
    ] = 0.9,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="The same seed writes the same file.")] = 1,
) -> None:
    """Have a model write tasks by the example of a few seed tasks (Self-Instruct), to fine-tune on.

    Stopped, the same command goes on.
    """
    from jokbo.instructions import rounds
    from jokbo.instructions import seeds as tasks
    from jokbo.instructions.instructor import Instructor, Settings
    from jokbo.instructions.writing import Writer
    from jokbo.models import access

    file = seeds or tasks.OURS
    read = tasks.read(file)
    tokenizer, network = _opened(model)
    writer = Writer(access.accelerated(network), tokenizer)
    own = Instructor(writer, read, Settings(seed, temperature, top_p, tokens))
    place = rounds.Place(out, STATE / "instructed", str(model), str(file))
    known = rounds.instruct(own, place, count=count, seconds=minutes and minutes * 60)
    for what in ("left_out", "instances_left_out"):
        for why, times in known[what].items():
            print(f"{times:,} {'instances' if what[0] == 'i' else 'instructions'} are left out: {why}")
    print(
        f"{known['tasks']:,} tasks, {known['instances']:,} instances: {out}; what is known of them: {place.record}"
    )


@app.command()
@in_one_line
def report() -> None:
    """Say where the report is, and open it if there is a browser."""
    if not REPORT.is_file():
        raise InputError(f"{REPORT}: not there yet: `make pipeline` or `jokbo run` makes it")
    print(REPORT.resolve())
    if sys.stdout.isatty():
        webbrowser.open(REPORT.resolve().as_uri())


@data.command("at-step")
@in_one_line
def at_step(
    step: Annotated[int, typer.Argument(help="As in plots/pretrain.csv: the first is 1.")],
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """List the documents in one batch of the pretraining that params.yaml describes.

    Of each sequence: the tokens of the corpus that it is; and of each document in it: its row in data/documents/train,
    its source, which of the sequence's tokens are its own, and its first words.
    """
    from jokbo import params
    from jokbo.data.corpus.batches import Layout, TokenCorpus, documents_at

    settings = params.load().pretrain
    if (training := settings.training) is None:
        raise InputError("pretrain.training is null: the model is adopted as it is, so no step read anything")
    if not 1 <= step <= training.steps:
        raise InputError(f"step {step}: it must be from 1 to pretrain.training.steps, {training.steps}")
    try:
        layout = Layout(training.batch_size, settings.start.context, settings.seed, settings.packing)
        sequences = documents_at(TokenCorpus.open(TOKENS), step - 1, layout)
        _add_first_words(sequences)
    except (ValueError, LookupError) as error:
        raise InputError(
            f"{TOKENS} and {DOCUMENTS}: damaged, or not of one run ({error}): run the stages prepare and tokenize"
        ) from error
    if as_json:
        print(json.dumps({"step": step, "sequences": sequences}, ensure_ascii=False, indent=1))
        return
    for number, sequence in enumerate(sequences):
        print(f"sequence {number}: tokens {sequence['start']} to {sequence['end']}")
        for document in sequence["documents"]:
            span = f"{document['start']:>5} to {document['end']:<5}"
            print(f"{span} document {document['row']} ({document['source']}): {document['first_words']}")


@preferences.command("export")
@in_one_line
def export_preferences(
    to: Annotated[
        str, typer.Option(help="pairs, choices, rankings, label_studio, argilla, potato or arena.")
    ],
    out: Annotated[Path, typer.Option(help="The folder of the files.")] = Path("exports"),
    split: Annotated[str, typer.Option(help="train, or test: what no stage learns from.")] = "train",
) -> None:
    """Write the comparisons of data/preferences in a form that other tools read."""
    if not PREFERENCES.is_dir():
        raise InputError(f"{PREFERENCES}: not there: run the stage preferences")
    from jokbo.data.tables import open_splits, rows_of
    from jokbo.preferences.forms import export as write

    splits = open_splits(PREFERENCES)
    if split not in splits:
        raise InputError(f"--split is {split}: it must be one of {', '.join(map(str, splits))}")
    for line in write(list(rows_of(splits[split])), to, out):
        print(line)


def _opened(model: Path) -> tuple[PreTrainedTokenizerBase, PreTrainedModel]:
    """Return the tokenizer and the language model in a folder.

    InputError if it holds none that can be opened, or other weights than its ancestry says.
    """
    from jokbo.exporting import opening

    found = opening.writing(model)
    return found.tokenizer, found.network


def _add_first_words(sequences: list[dict[str, Any]]) -> None:
    if not DOCUMENTS.is_dir():
        raise InputError(f"{DOCUMENTS}: not there: run the stage prepare")
    from jokbo.data.tables import open_table

    texts = open_table(DOCUMENTS).select_columns("text")
    for document in (document for sequence in sequences for document in sequence["documents"]):
        words = texts[document["row"]]["text"].split(maxsplit=FIRST_WORDS)
        document["first_words"] = " ".join(words[:FIRST_WORDS])


def _typed(invitation: str) -> Iterator[str]:
    """Yield lines of standard input; at a terminal an empty one ends it, or Ctrl-D."""
    if not sys.stdin.isatty():
        if isinstance(sys.stdin, TextIOWrapper):
            sys.stdin.reconfigure(errors="replace")  # bytes that are no UTF-8
        yield from filter(None, (line.rstrip("\n") for line in sys.stdin))
        return
    print(f"{invitation} An empty line ends it.\n")
    try:
        while typed := Console().input("[bold cyan]> [/]"):
            yield typed
    except EOFError:
        print()


if __name__ == "__main__":
    app()
