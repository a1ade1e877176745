"""params.yaml as a whole: its sections, and what one section asks of another."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field, model_validator

from jokbo.params.alignment import Dpo, Ppo
from jokbo.params.base import Section
from jokbo.params.chain import (
    Compute,
    Distill,
    Evaluate,
    Finetune,
    NoReward,
    NoStudent,
    Pretrain,
    Prompts,
    Reward,
)
from jokbo.params.data import Fetch, Prepare, Tokenize
from jokbo.params.judges import RewardJudge
from jokbo.params.labels import HARD, SoftLabels
from jokbo.params.method import Full, Lora, Method, Qlora
from jokbo.params.preferences import Preferences, Ratings, Simulated
from jokbo.params.training import Steps


class Params(Section):
    """The sections of params.yaml: the chain, and how everything is computed."""

    FILE: ClassVar[str] = "params.yaml"

    compute: Compute
    """How stages run; it does not change what they make, so no stage depends on it."""
    fetch: Fetch
    """Where texts come from."""
    prepare: Prepare
    """How texts are cleaned, selected and split."""
    tokenize: Tokenize
    """The tokenizer and the corpus."""
    prompts: Prompts
    """What the policy is asked: beginnings of sentences, or conversations."""
    pretrain: Pretrain
    """The base model, trained to predict the next token."""
    finetune: Finetune
    """The supervised policy, and labelled tasks, all from the base model."""
    distill: Annotated[Distill | NoStudent, Field(discriminator="kind")]
    """A smaller student of the supervised policy."""
    preferences: Preferences
    """Pairs of responses, and which one is preferred."""
    reward: Annotated[Reward | NoReward, Field(discriminator="kind")]
    """The reward model, trained on those pairs."""
    align: Annotated[Ppo | Dpo, Field(discriminator="kind")]
    """The aligned model: the supervised policy, taught what is preferred."""
    evaluate: Evaluate
    """How the models are measured."""

    @model_validator(mode="after")
    def fits_together(self) -> Params:
        context = self.pretrain.start.context
        spoken = self.prompts.prompt_tokens + self.prompts.response_tokens
        if spoken > context:
            raise ValueError(
                f"prompts.prompt_tokens + response_tokens is {spoken}: "
                f"it must be at most pretrain.start.context, which is {context}"
            )
        for name, task in self.finetune.tasks.items():
            if task.context > context:
                raise ValueError(
                    f"finetune.tasks.{name}.context is {task.context}: "
                    f"it must be at most pretrain.start.context, which is {context}"
                )
            entry = self.fetch.sources.get(task.source)
            if entry and (task.kind == "classification") == ("others" in (entry.columns or {})):
                needs = "has others in its columns" if task.kind == "classification" else "has none"
                raise ValueError(
                    f"finetune.tasks.{name}.kind is {task.kind}, but fetch.sources.{task.source} {needs}: pairs and "
                    "choice read columns.others, classification none"
                )
        if isinstance(self.reward, Reward) and not spoken < self.reward.context <= context:
            raise ValueError(
                f"reward.context is {self.reward.context}: it must be above {spoken} (prompt, response and the end "
                f"of text) and at most pretrain.start.context, which is {context}"
            )
        most = self.prompts.prompts_per_text
        for name, found in self._prompts_per_text():
            if found > most:
                limit = f"at most prompts.prompts_per_text, which is {most}"
                if self.prompts.kind == "conversation":
                    limit = "1, for a conversation gives one prompt"
                raise ValueError(f"{name} is {found}: it must be {limit}")
        self._fits_start()
        if self.prompts.kind == "conversation":
            for name in self.prompts.sources:
                if name in self.fetch.sources and not self.fetch.sources[name].of_conversations():
                    raise ValueError(
                        f"prompts.kind is conversation, but fetch.sources.{name}.columns names no field of one: "
                        f"name messages, conversations, instruction or prompt there"
                    )
        self._check_preferences()
        self._check_pairs()
        self._check_members()
        self._check_judges()
        self._check_methods()
        self.compute.check_batches(self._batches())
        return self

    def depths(self) -> dict[str, int]:
        """Return, by their keys, of how many of the model's layers networks are made that have fewer."""
        depths = {}
        if isinstance(self.distill, Distill):
            depths["distill.layers"] = self.distill.layers
        if isinstance(self.align, Ppo) and self.align.value_layers is not None:
            depths["align.value_layers"] = self.align.value_layers
        return depths

    def _fits_start(self) -> None:
        start, tokenizer = self.pretrain.start, self.tokenize.tokenizer.kind
        for key, layers in self.depths().items():
            if start.kind == "scratch" and layers > start.layers:
                raise ValueError(
                    f"{key} is {layers}: it must be at most pretrain.start.layers, which is {start.layers}"
                )
        if start.kind == "scratch" and tokenizer == "model":
            raise ValueError(
                "tokenize.tokenizer.kind is model, but pretrain.start.kind is scratch: choose byte_bpe, wordpiece or "
                "unigram"
            )
        if start.kind != "scratch" and tokenizer != "model":
            raise ValueError(
                f"tokenize.tokenizer.kind is {tokenizer}, but a model that is adopted reads its own tokens: "
                "write tokenizer: {kind: model, maximum_unknown: 0.01}"
            )

    def _check_preferences(self) -> None:
        """Refuse an alignment without what it learns from, and a reward model without pairs to score it on."""
        labellers = self.preferences.labellers.values()
        if isinstance(self.align, Ppo) and isinstance(self.reward, NoReward):
            raise ValueError(
                "reward.kind is none, but align.kind ppo needs a reward model: set align.kind to dpo"
            )
        if isinstance(self.align, Dpo) and all(isinstance(each, Ratings) for each in labellers):
            found = "no labeller compares responses to a prompt, as ratings are of single texts"
            raise ValueError(f"align.kind is dpo, but {found}: add one of kind file, people, ai or simulated")
        tested = (isinstance(each, Ratings) or getattr(each, "held_out", 0) > 0 for each in labellers)
        if isinstance(self.reward, Reward) and not any(tested):
            found = "no labeller has pairs for its test"
            raise ValueError(f"reward.kind is model, but {found}: set held_out, or add one of kind ratings")

    def _check_pairs(self) -> None:
        """Refuse what is asked of pairs where no labeller gives such pairs, so that it would change nothing."""
        labellers = self.preferences.labellers.values()
        for key in ("reward", "align"):
            soft = isinstance(getattr(getattr(self, key), "labels", HARD), SoftLabels)
            if soft and all(isinstance(each, Ratings | Simulated) for each in labellers):
                raise ValueError(
                    f"{key}.labels.kind is soft, but no labeller gives ties or probabilities: set it to hard, or add "
                    "one of kind file, people or ai"
                )
        if getattr(self.reward, "batch_of", "pairs") == "prompts" and all(
            isinstance(each, Ratings) or getattr(each, "responses_per_prompt", 3) == 2 for each in labellers
        ):
            raise ValueError(
                "reward.batch_of is prompts, but no labeller compares more than two responses to a prompt: set it to "
                "pairs, or raise responses_per_prompt"
            )

    def _check_members(self) -> None:
        """Refuse a cost of disagreement where there is one reward model, and several of them on one trunk."""
        members = getattr(self.reward, "members", 1)
        if not isinstance(self.align, Ppo):
            return
        if self.align.disagreement_cost and members == 1:
            raise ValueError(
                f"align.disagreement_cost is {self.align.disagreement_cost:g}, but reward.members is 1, which agrees "
                "with itself: raise reward.members, or set it to 0.0"
            )
        if members > 1 and not isinstance(self.align.method, Full):
            raise ValueError(
                f"reward.members is {members}, but align.method.kind is {self.align.method.kind}, whose networks "
                "share one trunk: set one of them to 1 or full"
            )

    def _check_judges(self) -> None:
        for name, judge in self.evaluate.judges.items():
            if isinstance(judge, RewardJudge) and isinstance(self.reward, NoReward):
                raise ValueError(
                    f"evaluate.judges.{name}.kind is reward, but reward.kind is none: there is no reward model; "
                    "remove that judge"
                )

    def _prompts_per_text(self) -> list[tuple[str, int]]:
        found = [("finetune.policy.prompts_per_text", self.finetune.policy.prompts_per_text)]
        if isinstance(self.distill, Distill):
            found.append(("distill.prompts_per_text", self.distill.prompts_per_text))
        if isinstance(self.align, Ppo):
            found.append(("align.prompts_per_text", self.align.prompts_per_text))
        return found

    def methods(self) -> list[tuple[str, str, Method]]:
        """Return stage, key and method of every training that may have one."""
        trainings: dict[str, tuple[str, Steps | None]] = {
            "pretrain": ("pretrain", self.pretrain.training),
            "finetune.policy": ("finetune", self.finetune.policy.training),
            **{
                f"finetune.tasks.{name}": ("tasks", task.training)
                for name, task in self.finetune.tasks.items()
            },
            "distill": ("distill", getattr(self.distill, "training", None)),
            "reward": ("reward", getattr(self.reward, "training", None)),
            "align": ("align", getattr(self.align, "training", None)),
        }
        found = [
            (stage, f"{key}.training.method", training.method)
            for key, (stage, training) in trainings.items()
            if training is not None
        ]
        if isinstance(self.align, Ppo):
            found.append(("align", "align.method", self.align.method))
        return found

    def _check_methods(self) -> None:
        """Refuse weights in 4 bits where they would have to be shared out among the ranks."""
        for _, key, method in self.methods():
            if self.compute.zero_stage == 3 and isinstance(method, Qlora):
                found = f"compute.zero_stage is 3, but {key}.kind is qlora"
                raise ValueError(f"{found}: weights in 4 bits cannot be shared out; set it to 2 or lower")
            if self.compute.zero_stage == 3 and key == "align.method" and isinstance(method, Lora):
                found = f"compute.zero_stage is 3, but {key}.kind is lora"
                raise ValueError(f"{found}: a trunk of networks cannot be shared out; set it to 2 or lower")

    def _batches(self) -> list[tuple[str, int]]:
        found = [
            ("finetune.policy.training.batch_size", self.finetune.policy.training.batch_size),
            *(
                (f"finetune.tasks.{name}.training.batch_size", task.training.batch_size)
                for name, task in self.finetune.tasks.items()
            ),
        ]
        if self.pretrain.training:
            found.insert(0, ("pretrain.training.batch_size", self.pretrain.training.batch_size))
        if isinstance(self.distill, Distill):
            found.append(("distill.training.batch_size", self.distill.training.batch_size))
        if isinstance(self.reward, Reward):
            found.append(("reward.training.batch_size", self.reward.training.batch_size))
        if isinstance(self.align, Ppo):
            found.append(("align.minibatch", self.align.minibatch))
        else:
            found.append(("align.training.batch_size", self.align.training.batch_size))
        return found
