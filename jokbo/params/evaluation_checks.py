"""Checks of evaluate.judges against what `prepare` counted, and of the tasks of evaluate.benchmarks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING

from jokbo.data.counts import Counts
from jokbo.params.names import nearest
from jokbo.runtime.errors import InputError, about

if TYPE_CHECKING:
    from jokbo.params import ClassifierJudge, Params


def problems(settings: Params, counts: Counts) -> Iterator[str]:
    """Yield what the documents lack for the judges that learn, each in one line."""
    for key, judge in classifiers(settings):
        sources, good = judge.sources, str(judge.good)
        for source in sources:
            classes = {label for split in counts.labelled.values() for label in split.get(source, {})}
            if not classes:
                yield f"{key}.sources names {source}, which has no labelled text: name a source with labels"
            if good not in classes:
                yield f"{key}.good is {good!r:.40}, but no text of {source} has that label: {nearest(good, classes)}"
        of_judge = _by_label(counts, "judge", sources)
        for found, what in (
            (of_judge.get(good, 0), f"has label {good!r:.40}"),
            (
                sum(count for label, count in of_judge.items() if label != good),
                f"has another label than {good!r:.40}",
            ),
        ):
            if not found:
                yield (
                    f"prepare.splits.judge is {settings.prepare.splits.judge:g}, but no text of {' or '.join(sources)} "
                    f"in that split {what}: {key} learns from both; raise the share or give labelled texts"
                )
        for source in sources:
            if (found := sum(_by_label(counts, "test", [source]).values())) < 2:
                needs = f"{key} is tried on two or more labelled texts of {source} in test"
                yield f"{needs}, but there are {found}: raise prepare.splits.test or give labelled texts"


def classifiers(settings: Params) -> Iterator[tuple[str, ClassifierJudge]]:
    """Yield the key and the settings of each judge that learns from labelled texts."""
    for name, judge in settings.evaluate.judges.items():
        if judge.kind == "classifier":
            yield f"evaluate.judges.{name}", judge


def _by_label(counts: Counts, split: str, sources: Iterable[str]) -> Counter[str]:
    """Return how many documents of a split have each label, of all sources together."""
    found = counts.labelled.get(split, {})
    return sum((Counter(found.get(source, {})) for source in sources), Counter())


def check_benchmarks(settings: Params) -> None:
    """Raise InputError, one line, for the first benchmark that cannot be asked."""
    with about(settings.FILE):
        if find_spec("lm_eval") is None:
            raise InputError(
                "evaluate.benchmarks needs lm-evaluation-harness: pip install 'lm-eval[hf]>=0.4.13,<0.5'"
            )
        from jokbo.evaluation.benchmarks import harness  # it needs what takes seconds to import

        plain = settings.prompts.kind == "continuation" and settings.pretrain.start.kind == "scratch"
        for name, benchmark in settings.evaluate.benchmarks.items():
            if benchmark.apply_chat_template and plain:
                why = "the models begin from scratch and go on with texts, so that they have no template"
                raise InputError(
                    f"evaluate.benchmarks.{name}.apply_chat_template is true, but {why}: take it out"
                )
            harness.check(name, benchmark, settings.pretrain.start.context)
