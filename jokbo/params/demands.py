"""What params.yaml and family/params.yaml ask of the data, held against what is there before anything trains.

Names are held against the sources of the raw data, and what a stage needs of a split against what `prepare` counted. It
can refuse and change nothing, so no stage depends on it.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jokbo.params.family import FamilyParams
from jokbo.runtime.errors import InputError

if TYPE_CHECKING:
    from jokbo.params import Mix, Params

JUDGED = ("imdb", "rotten_tomatoes")  # evaluation.scoring.trust_in scores the judge on these
RATED_TEXTS = 10  # that simulated raters need: jokbo.preferences.raters fits them in five folds


@dataclass(frozen=True)
class Counted:
    """What `prepare` counted (its facts): `sources`, `splits` and, by split and source, what is `told` of texts."""

    facts: Mapping[str, Any]

    def documents(self, split: str, sources: Iterable[str]) -> int:
        """How many documents of a split are of the sources; one that is of two of them counts twice."""
        held = self.facts["splits"].get(split, {})
        return sum(held.get(source, 0) for source in sources)

    def told(self, split: str, sources: Iterable[str], what: str) -> int:
        """How many have label `0` or `1`, or are `rated` by several people or `rated_once`."""
        held = self.facts.get("told", {}).get(split, {})
        return sum(held.get(source, {}).get(what, 0) for source in sources)

    def why(self, split: str, source: str) -> str:
        """Why there is no document of a source in a split."""
        found = self.facts["sources"][source]
        if left := found.get("documents", 0):
            where = f"none of its {left:,} documents is in {split}"
            return f"{where}: raise prepare.splits.{split} or give it more texts"
        dropped = found.get("dropped", {})
        reasons = ", ".join(
            f"{dropped[name]:,} for {name}" for name in sorted(dropped, key=dropped.get)[::-1]
        )
        return f"prepare left out all of its {found['rows']:,} rows ({reasons}): change what leaves them out"


def check_splits(settings: Params, stages: Collection[str]) -> None:
    """Raises InputError for a split that one of the stages reads and whose share is 0."""
    shares = settings.prepare.splits.model_dump()
    for stage, needed in SPLITS.items():
        for split in needed if stage in stages else ():
            if not shares[split]:
                raise InputError(
                    f"params.yaml: prepare.splits.{split} is 0, but {stage} reads that split: give it a share"
                )


def check_names(settings: Params | FamilyParams, stages: Collection[str], held: Collection[str]) -> None:
    """Raises InputError for the name of a source in the stages' sections that is none of those held."""
    for stage, key, names in _named(settings):
        for name in names if stage in stages else ():
            if name not in held:
                raise InputError(f"{settings.FILE}: {key}: there is no source {name}: {nearest(name, held)}")


def check_documents(
    settings: Params | FamilyParams, stages: Collection[str], facts: Mapping[str, Any]
) -> None:
    """Raises InputError for the first thing that one of the stages asks of the documents and that they do not have."""
    check_names(settings, [stage for stage in stages if stage != "prepare"], facts["sources"])
    counted = Counted(facts)
    for stage, faults in FAULTS.items():
        fault = next(faults(settings, counted), None) if stage in stages else None
        if fault:
            raise InputError(f"{settings.FILE}: {fault}")


def nearest(name: str, held: Collection[str]) -> str:
    """What to write in the place of a name that is not among those held."""
    near = difflib.get_close_matches(name, held, n=1, cutoff=0.5)
    there = f"there {'is' if len(held) == 1 else 'are'} {', '.join(sorted(held)) or 'none'}"
    return f"did you mean {near[0]}? ({there})" if near else there


def _drawn(mix: Mix) -> list[str]:
    """The sources that the mix draws from: by temperature all, else those whose part is not 0."""
    return [name for name in mix.sources if mix.by == "temperature" or mix.sources[name]]


def _named(settings: Params | FamilyParams) -> Iterator[tuple[str, str, Sequence[str]]]:
    """Stage, key and names of each place where sources are named."""
    if isinstance(settings, FamilyParams):
        yield "family_text", "family_text.mix.sources", list(settings.family_text.mix.sources)
        for name, task in settings.family_text.tasks.items():
            yield "family_text", f"family_text.tasks.{name}.sources", task.sources
        return
    yield "prepare", "prepare.quality.sources", settings.prepare.quality.sources
    yield "prepare", "prepare.near_duplicates.sources", settings.prepare.near_duplicates.sources
    yield "tokenize", "tokenize.mix.sources", list(settings.tokenize.mix.sources)
    yield "prompts", "prompts.sources", settings.prompts.sources
    yield "finetune", "finetune.classifier.source", [settings.finetune.classifier.source]
    yield "preferences", "preferences.human_sources", settings.preferences.human_sources


def _lacking(counted: Counted, key: str, sources: Iterable[str], splits: Iterable[str]) -> Iterator[str]:
    """A fault for each source without documents in one of the splits."""
    for source in sources:
        for split in splits:
            if not counted.documents(split, [source]):
                yield f"{key} names {source}, but {counted.why(split, source)}"


def _too_few(
    counted: Counted, settings: Params, split: str, a_text: int, key: str, needed: int
) -> Iterator[str]:
    """A fault if prompts.sources cannot give `needed` prompts, `a_text` of each text, for the batch at `key`."""
    sources = settings.prompts.sources
    most = a_text * counted.documents(split, sources)
    if most < needed:
        texts = f"{', '.join(sources)} in {split} give {most:,} prompts at most"
        yield f"{key} is {needed}, but the texts of {texts}: give them more texts or set it lower"


def _tokenize(settings: Params, counted: Counted) -> Iterator[str]:
    names = _drawn(settings.tokenize.mix)
    yield from _lacking(counted, "tokenize.mix.sources", names, ["train"])
    for split in ("validation", "test"):
        if not counted.documents(split, names):
            yield from _lacking(counted, "tokenize.mix.sources", names, [split])


def _prompts(settings: Params, counted: Counted) -> Iterator[str]:
    yield from _lacking(counted, "prompts.sources", settings.prompts.sources, SPLITS["prompts"])


def _finetune(settings: Params, counted: Counted) -> Iterator[str]:
    policy, classifier = settings.finetune.policy, settings.finetune.classifier
    yield from _too_few(
        counted,
        settings,
        "train",
        policy.prompts_per_text,
        "finetune.policy.training.batch",
        policy.training.batch,
    )
    key, source = "finetune.classifier.source", [classifier.source]
    yield from _lacking(counted, key, source, ["train", "validation", "test"])
    for split in ("train", "validation", "test"):
        labels = {what: counted.told(split, source, what) for what in ("0", "1")}
        if not sum(labels.values()) or (split == "train" and not all(labels.values())):
            found = ", ".join(f"{number:,} with label {what}" for what, number in labels.items())
            needs = "texts of both labels" if split == "train" else "labelled texts"
            yield f"{key} is {classifier.source}, which has {found} in {split}: name a source with {needs}"
        elif split == "train" and sum(labels.values()) < classifier.training.batch:
            held = f"{classifier.source} has {sum(labels.values())} labelled texts in train"
            batch = f"finetune.classifier.training.batch is {classifier.training.batch}"
            yield f"{batch}, but {held}: give it more or set the batch lower"


def _distill(settings: Params, counted: Counted) -> Iterator[str]:
    own = settings.distill
    yield from _too_few(
        counted, settings, "train", own.prompts_per_text, "distill.training.batch", own.training.batch
    )


def _preferences(settings: Params, counted: Counted) -> Iterator[str]:
    own, key = settings.preferences, "preferences.human_sources"
    yield from _lacking(counted, key, own.human_sources, ["train", "test"])
    for split, asked in (("train", "human_pairs"), ("test", "test_pairs")):
        for source in own.human_sources:
            rated, once = (counted.told(split, [source], what) for what in ("rated", "rated_once"))
            pairs, needed = rated * (rated - 1) // 2, getattr(own, asked) // len(own.human_sources)
            if once:
                yield f"{key} names {source}, of whose texts {once:,} in {split} have one rating: each needs two"
            if not rated:
                yield f"{key} names {source}, which has no rated text in {split}: name a source with ratings"
            if pairs < needed:
                have = f"the {rated:,} rated texts of {source} in {split} make {pairs:,} pairs"
                yield f"preferences.{asked} asks {needed:,} pairs of each source, but {have}: ask for fewer"
    if (rated := counted.told("train", own.human_sources, "rated")) < RATED_TEXTS:
        yield f"{key} have {rated} rated texts in train: raters are fitted to {RATED_TEXTS} and more"


def _reward(settings: Params, counted: Counted) -> Iterator[str]:
    own, batch = settings.preferences, settings.reward.training.batch
    prompts = min(own.prompts, counted.documents("prompts", settings.prompts.sources))
    each = own.responses_per_prompt
    most = prompts * each * (each - 1) // 2 + own.human_pairs
    if most < batch:
        found = f"preferences.prompts and human_pairs give {most:,} comparisons at most"
        yield f"reward.training.batch is {batch}, but {found}: ask for more or set it lower"


def _ppo(settings: Params, counted: Counted) -> Iterator[str]:
    own = settings.ppo
    yield from _too_few(
        counted, settings, "prompts", own.prompts_per_text, "ppo.rollout_batch", own.rollout_batch
    )


def _evaluate(settings: Params, counted: Counted) -> Iterator[str]:
    for what in ("0", "1"):
        if not counted.told("judge", counted.facts["sources"], what):
            yield (
                f"prepare.splits.judge is {settings.prepare.splits.judge:g}, but no text of that split has label "
                f"{what}: the judge needs both; raise the share or give labelled texts"
            )
    for source in JUDGED:
        if (held := sum(counted.told("test", [source], what) for what in ("0", "1"))) < 2:
            yield f"evaluate scores its judge on labelled texts of {source} in test, of which there are {held}, not two"


def _family_text(settings: FamilyParams, counted: Counted) -> Iterator[str]:
    own = settings.family_text
    names = _drawn(own.mix)
    yield from _lacking(counted, "family_text.mix.sources", names, ["train"])
    if not counted.documents("validation", names):
        yield from _lacking(counted, "family_text.mix.sources", names, ["validation"])
    for name, task in own.tasks.items():
        key = f"family_text.tasks.{name}.sources"
        for splits in (["train"], ["validation"], own.test_splits):
            told = ("rated", "rated_once") if task.neutral is not None else ("0", "1")
            found = [sum(counted.told(split, task.sources, what) for split in splits) for what in told]
            if not (sum(found) if task.neutral is not None else all(found)):
                what = (
                    "no rating"
                    if task.neutral is not None
                    else f"{found[0]} texts of label 0 and {found[1]} of 1"
                )
                yield f"{key} have {what} in {' and '.join(splits)}: name sources that have both classes there"


FAULTS: dict[str, Callable[[Any, Counted], Iterator[str]]] = {  # given the parameters of the stage's project
    "tokenize": _tokenize,
    "prompts": _prompts,
    "finetune": _finetune,
    "distill": _distill,
    "preferences": _preferences,
    "reward": _reward,
    "ppo": _ppo,
    "evaluate": _evaluate,
    "family_text": _family_text,
}
SPLITS = {  # that each stage reads
    "tokenize": ("train", "validation", "test"),
    "prompts": ("train", "validation", "prompts", "test"),
    "finetune": ("train", "validation", "test"),
    "preferences": ("train", "test"),
    "evaluate": ("test", "judge"),
}
