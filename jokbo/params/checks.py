"""Checks of params.yaml and family/params.yaml against the data, before anything trains.

Names are compared with the sources of the raw data, and what a stage needs of a split with what `prepare` counted. A
check can refuse, but it changes nothing. So no stage depends on this file.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jokbo.data.conversations.own import LOCAL, own_prompts
from jokbo.data.counts import KNOWN, Counts, StartingModel
from jokbo.params import AlignmentParams, AnyParams, FamilyParams, Params, evaluation_checks
from jokbo.params.method import Full
from jokbo.params.names import nearest
from jokbo.runtime.errors import InputError, about

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from jokbo.params import Mix, Ratings, Simulated

RATED_TEXTS = 10  # least number for simulated raters: jokbo.preferences.raters fits them in five folds

Problems = Iterator[str]  # what is wrong, each in one line


def check_splits(settings: Params, stages: Collection[str]) -> None:
    """Raise InputError for a split that one of the stages reads and whose share is 0."""
    shares = settings.prepare.splits.model_dump()
    rated = any(_of_rated_texts(settings))
    for stage in SPLITS:
        for split in (
            _splits(settings, stage) if stage in stages and (rated or stage != "preferences") else ()
        ):
            if not shares[split]:
                raise InputError(
                    f"params.yaml: prepare.splits.{split} is 0, but {stage} reads that split: give it a share"
                )


def check_files(settings: Params, stages: Collection[str], folder: Path) -> None:
    """Raise InputError for the first thing that is wrong in a file of the user's that one of the stages reads.

    folder: the project.
    """
    if "prompts" in stages and settings.prompts.kind == "conversation":
        for key, name in (("template", settings.prompts.template), ("file", settings.prompts.file)):
            if name and not (folder / LOCAL / name).is_file():
                raise InputError(f"{settings.FILE}: prompts.{key} is {name}: put that file into {LOCAL}")
        if own := settings.prompts.file:
            list(own_prompts(folder / LOCAL / own))
    for name, labeller in settings.preferences.labellers.items() if "preferences" in stages else ():
        if labeller.kind == "file":
            from jokbo.preferences import imported  # it needs what takes seconds to import

            imported.check(name, labeller, _template(settings, folder))
        elif labeller.kind == "people":
            from jokbo.preferences import people

            people.check(name, labeller)
        elif labeller.kind == "ai":
            from jokbo.preferences import ai

            ai.check(name, labeller)
    if "evaluate" in stages and settings.evaluate.benchmarks:
        evaluation_checks.check_benchmarks(settings)


def _template(settings: Params, folder: Path) -> str | None:
    """Return the chat template by which the policy will be asked, empty if it goes on with texts; None if unknown."""
    if settings.prompts.kind == "continuation":
        return ""
    from jokbo.data.conversations import chat

    own = settings.prompts.template
    file = folder / LOCAL / own if own else chat.PLAIN if settings.pretrain.start.kind == "scratch" else None
    return file.read_text("utf-8", "replace") if file and file.is_file() else None


def check_names(settings: AnyParams, stages: Collection[str], present: Collection[str]) -> None:
    """Raise InputError for a name in the stages' sections that no source has.

    present: the names of the sources.
    """
    for stage, key, names in _named(settings):
        for name in names if stage in stages else ():
            if name not in present:
                raise InputError(
                    f"{settings.FILE}: {key}: there is no source {name}: {nearest(name, present)}"
                )


def check_documents(settings: AnyParams, stages: Collection[str], counts: Counts) -> None:
    """Raise InputError for the first thing that one of the stages needs and that the documents do not have.

    counts: what `prepare` counted.
    """
    check_names(settings, [stage for stage in stages if stage != "prepare"], counts.sources)
    for stage, problems in CHECKS[type(settings)].items():
        problem = next(problems(settings, counts), None) if stage in stages else None
        if problem:
            raise InputError(f"{settings.FILE}: {problem}")


def known_start(folder: Path) -> StartingModel:
    """Return what is known of the model in the folder that `fetch` left."""
    return StartingModel.load(folder / KNOWN)


def check_start(settings: Params, stages: Collection[str], start: StartingModel) -> None:
    """Raise InputError for what a stage asks of the model that was adopted, and that it does not have."""
    for key, layers in settings.depths().items():
        if key.partition(".")[0] in stages and start.layers is not None and layers > start.layers:
            raise InputError(
                f"{settings.FILE}: {key} is {layers}, but {start.source} has {start.layers}: set it lower"
            )


def check_methods(settings: Params, stages: Collection[str], start: Path | None) -> None:
    """Raise InputError for a method of one of the stages that names no layer, or that cannot work on this machine.

    start: the folder of the model that `fetch` left; None if it is to run.
    """
    adapted = [
        (key, method)
        for stage, key, method in settings.methods()
        if stage in stages and not isinstance(method, Full)
    ]
    if not adapted:
        return
    from jokbo.training import adapters, quantised  # they need what takes seconds to import

    network = _outline(settings, start)
    for key, method in adapted:
        with about(f"{settings.FILE}: {key}"):
            if method.kind == "qlora":
                quantised.check()
            if network is not None:
                adapters.targeted(adapters.layers(network), method.targets)


def _outline(settings: Params, start: Path | None) -> PreTrainedModel | None:
    """Return the network that the chain starts from without its weights; None if it is not known yet."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from jokbo.models import causal

    own = settings.pretrain.start
    if own.kind == "scratch":
        config = causal.configuration(own, vocabulary=1, end_of_text=0, padding=0)
    elif start and (start / "config.json").is_file():
        config = AutoConfig.from_pretrained(start, trust_remote_code=False)
    else:
        return None
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config)


def _documents(counts: Counts, split: str, sources: Iterable[str]) -> int:
    """Return how many documents of a split are of the sources; a document of two of them counts twice."""
    return sum(counts.splits.get(split, {}).get(source, 0) for source in sources)


def _labelled(counts: Counts, split: str, sources: Iterable[str], label: str) -> int:
    """Return how many documents have this label."""
    found = counts.labelled.get(split, {})
    return sum(found.get(source, {}).get(label, 0) for source in sources)


def _rated(counts: Counts, split: str, sources: Iterable[str], by: str) -> int:
    """Return how many documents were rated by `several` people, or `once`."""
    found = counts.rated.get(split, {})
    return sum(found.get(source, {}).get(by, 0) for source in sources)


def _why_none(counts: Counts, split: str, source: str) -> str:
    """Return why a split has no document of a source, and what to do."""
    found = counts.sources[source]
    if found.documents:
        where = f"none of its {found.documents:,} documents is in {split}"
        return f"{where}: raise prepare.splits.{split} or give it more texts"
    dropped = found.dropped
    reasons = ", ".join(
        f"{dropped[name]:,} for {name}" for name in sorted(dropped, key=dropped.__getitem__)[::-1]
    )
    return f"prepare left out all of its {found.rows:,} rows ({reasons}): change what leaves them out"


def _read_sources(mix: Mix) -> list[str]:
    """Return the sources that the mix reads: all by temperature, else those whose part is not 0."""
    return [name for name in mix.sources if mix.by == "temperature" or mix.sources[name]]


def _named(settings: AnyParams) -> Iterator[tuple[str, str, Sequence[str]]]:
    """Yield stage, key and names of each key that names sources."""
    if isinstance(settings, FamilyParams):
        yield "family_text", "family_text.mix.sources", list(settings.family_text.mix.sources)
        for name, task in settings.family_text.tasks.items():
            yield "family_text", f"family_text.tasks.{name}.sources", task.sources
    if not isinstance(settings, Params):
        return
    yield "prepare", "prepare.quality.sources", settings.prepare.quality.sources
    yield "prepare", "prepare.near_duplicates.sources", settings.prepare.near_duplicates.sources
    yield "tokenize", "tokenize.mix.sources", list(settings.tokenize.mix.sources)
    yield "prompts", "prompts.sources", settings.prompts.sources
    for name, task in settings.finetune.tasks.items():
        yield "tasks", f"finetune.tasks.{name}.source", [task.source]
    for key, labeller in _of_rated_texts(settings):
        yield "preferences", f"{key}.sources", labeller.sources
    for key, judge in evaluation_checks.classifiers(settings):
        yield "evaluate", f"{key}.sources", judge.sources


def _lacking(counts: Counts, key: str, sources: Iterable[str], splits: Iterable[str]) -> Problems:
    """Yield a problem for each source without documents in one of the splits."""
    for source in sources:
        for split in splits:
            if not _documents(counts, split, [source]):
                yield f"{key} names {source}, but {_why_none(counts, split, source)}"


def _too_few(
    counts: Counts, settings: Params, split: str, prompts_per_text: int, key: str, needed: int
) -> Problems:
    """Yield a problem if prompts.sources cannot give as many prompts in a split as the batch at `key` needs."""
    sources = settings.prompts.sources
    most = prompts_per_text * _documents(counts, split, sources)
    if most < needed:
        texts = f"{', '.join(sources)} in {split} give {most:,} prompts at most"
        yield f"{key} is {needed}, but the texts of {texts}: give them more texts or set it lower"


def _tokenize(settings: Params, counts: Counts) -> Problems:
    names = _read_sources(settings.tokenize.mix)
    yield from _lacking(counts, "tokenize.mix.sources", names, ["train"])
    for split in ("validation", "test"):
        if not _documents(counts, split, names):
            yield from _lacking(counts, "tokenize.mix.sources", names, [split])


def _prompts(settings: Params, counts: Counts) -> Problems:
    yield from _lacking(counts, "prompts.sources", settings.prompts.sources, _splits(settings, "prompts"))


def _splits(settings: Params, stage: str) -> list[str]:
    """Return the splits that a stage reads. A file of own prompts stands in the place of the split `prompts`, and the
    split `judge` is read by judges that learn from it."""
    passed_over = set()
    if stage == "prompts" and _own_prompts(settings):
        passed_over.add("prompts")
    if stage == "evaluate" and not any(evaluation_checks.classifiers(settings)):
        passed_over.add("judge")
    return [split for split in SPLITS[stage] if split not in passed_over]


def _own_prompts(settings: Params) -> bool:
    return settings.prompts.kind == "conversation" and settings.prompts.file is not None


def _finetune(settings: Params, counts: Counts) -> Problems:
    policy = settings.finetune.policy
    batch = policy.training.batch_size
    yield from _too_few(
        counts, settings, "train", policy.prompts_per_text, "finetune.policy.training.batch_size", batch
    )


def _tasks(settings: Params, counts: Counts) -> Problems:
    for name, task in settings.finetune.tasks.items():
        key, source = f"finetune.tasks.{name}", task.source
        yield from _lacking(counts, f"{key}.source", [source], SPLITS["tasks"])
        labelled = {split: counts.labelled.get(split, {}).get(source, {}) for split in SPLITS["tasks"]}
        classes = sorted({label for found in labelled.values() for label in found})
        if len(classes) < 2:
            has = f"all labelled texts of {source} are of class {classes[0]!r:.40}" if classes else ""
            has = has or f"{source} has no labelled text"
            yield f"{key}.source: {has}: a task needs texts of two classes or more"
        for split, label in ((split, label) for split in labelled for label in classes):
            if not labelled[split].get(label):
                there = sum(found.get(label, 0) for found in labelled.values())
                yield (
                    f"{key}: none of the {there:,} texts of {source} with label {label!r:.40} is in {split}: give it "
                    f"more of them, raise prepare.splits.{split}, or take them out"
                )
        texts = sum(labelled["train"].values())
        asked = [(f"{key}.training.batch_size", task.training.batch_size)]
        asked += [(f"{key}.curve.labels", count) for count in task.curve.numbers] if task.curve else []
        for what, count in asked:
            if count > texts:
                yield f"{what} is {count}, but {source} has {texts:,} labelled texts in train: set it lower"


def _distill(settings: Params, counts: Counts) -> Problems:
    own = settings.distill
    if own.kind == "none":
        return
    batch = own.training.batch_size
    yield from _too_few(counts, settings, "train", own.prompts_per_text, "distill.training.batch_size", batch)


def _preferences(settings: Params, counts: Counts) -> Problems:
    for key, labeller in _of_rated_texts(settings):
        sources = labeller.sources
        yield from _lacking(counts, f"{key}.sources", sources, ["train", "test"])
        for split in ("train", "test"):
            for source in sources:
                rated, once = (_rated(counts, split, [source], by) for by in ("several", "once"))
                if once:
                    found = f"{once:,} of whose texts in {split} have one rating alone"
                    advice = "each text needs two; get more, or name another source"
                    yield f"{key}.sources names {source}, {found}: {advice}"
                if not rated:
                    what = f"which has no rated text in {split}: name a source with ratings"
                    yield f"{key}.sources names {source}, {what}"
                if labeller.kind == "ratings":
                    yield from _too_few_pairs(key, labeller, source, split, rated)
        rated = _rated(counts, "train", sources, "several")
        if labeller.kind == "simulated" and rated < RATED_TEXTS:
            found = f"names sources with {rated} rated texts in train"
            yield f"{key}.sources {found}: simulated raters need at least {RATED_TEXTS}; name more sources"


def _of_rated_texts(settings: Params) -> Iterator[tuple[str, Ratings | Simulated]]:
    """Yield the key and the settings of each labeller who goes by people's ratings of single texts."""
    for name, labeller in settings.preferences.labellers.items():
        if labeller.kind == "ratings" or labeller.kind == "simulated":
            yield f"preferences.labellers.{name}", labeller


def _too_few_pairs(key: str, labeller: Ratings, source: str, split: str, rated: int) -> Problems:
    what, asked = ("pairs", labeller.pairs) if split == "train" else ("test_pairs", labeller.test_pairs)
    pairs, needed = rated * (rated - 1) // 2, asked // len(labeller.sources)
    if pairs < needed:
        have = f"the {rated:,} rated texts of {source} in {split} make {pairs:,} pairs"
        yield f"{key}.{what} asks {needed:,} pairs of each source, but {have}: ask for fewer"


def _reward(settings: Params, counts: Counts) -> Problems:
    if settings.reward.kind == "none":
        return
    labellers, batch = settings.preferences.labellers.values(), settings.reward.training.batch_size
    there, most = _documents(counts, "prompts", settings.prompts.sources), 0
    for labeller in labellers:
        if labeller.kind == "file":
            return  # its judgements are counted when they are read
        if labeller.kind == "ratings":
            most += labeller.pairs
        else:
            prompts = labeller.prompts if _own_prompts(settings) else min(labeller.prompts, there)
            if settings.reward.batch_of == "prompts":
                most += prompts
                continue
            pairs = prompts * labeller.responses_per_prompt * (labeller.responses_per_prompt - 1) // 2
            most += pairs * (labeller.labels_per_item if labeller.kind == "people" else 1)
    if most < batch:
        found = f"preferences.labellers give {most:,} {settings.reward.batch_of} at most"
        yield f"reward.training.batch_size is {batch}, but {found}: ask for more or set it lower"


def _align(settings: Params, counts: Counts) -> Problems:
    own = settings.align
    if own.kind == "ppo" and not _own_prompts(settings):
        batch = own.rollout_batch
        yield from _too_few(counts, settings, "prompts", own.prompts_per_text, "align.rollout_batch", batch)


def _family_text(settings: FamilyParams, counts: Counts) -> Problems:
    own = settings.family_text
    names = _read_sources(own.mix)
    yield from _lacking(counts, "family_text.mix.sources", names, ["train"])
    if not _documents(counts, "validation", names):
        yield from _lacking(counts, "family_text.mix.sources", names, ["validation"])
    for name, task in own.tasks.items():
        rated = task.neutral is not None
        for splits in (["train"], ["validation"], own.test_splits):
            count, whats = (_rated, ("several", "once")) if rated else (_labelled, ("0", "1"))
            found = [sum(count(counts, split, task.sources, what) for split in splits) for what in whats]
            if not (sum(found) if rated else all(found)):
                what = "no rating" if rated else f"{found[0]} texts of label 0 and {found[1]} of 1"
                have = f"have {what} in {' and '.join(splits)}"
                yield f"family_text.tasks.{name}.sources {have}: name sources that have both classes there"


CHECKS: dict[type[AnyParams], dict[str, Callable[[Any, Counts], Problems]]] = {
    Params: {
        "tokenize": _tokenize,
        "prompts": _prompts,
        "finetune": _finetune,
        "tasks": _tasks,
        "distill": _distill,
        "preferences": _preferences,
        "reward": _reward,
        "align": _align,
        "evaluate": evaluation_checks.problems,
    },
    FamilyParams: {"family_text": _family_text},
    AlignmentParams: {},  # it reads what the chain has checked
}
SPLITS = {  # that each stage reads
    "tokenize": ("train", "validation", "test"),
    "prompts": ("train", "validation", "prompts", "test"),
    "finetune": ("train", "validation"),
    "tasks": ("train", "validation", "test"),
    "preferences": ("train", "test"),
    "evaluate": ("test", "judge"),
}
