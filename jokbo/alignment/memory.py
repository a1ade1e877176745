"""The memory that PPO will take, with four networks or one trunk (jokbo/training/memory.py says how it is found).

What counts is the worst of its phases: responses are sampled, with what attention keeps of each token; they are scored;
their distributions are read; the policy is trained; the value is trained.

Shapes: N prompts there are, B responses, P tokens of a prompt, R of a response at most, S of both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from transformers import DynamicCache

from jokbo.alignment.networks import Networks, recomputed
from jokbo.alignment.ppo import PolicyLoss
from jokbo.alignment.value import ValueLoss
from jokbo.models import heads
from jokbo.models.causal import leading
from jokbo.sampling import ROWS, response_log_probs
from jokbo.training import processes
from jokbo.training.memory import Need, Passes, faked, held, in_process, of_engine, tell

if TYPE_CHECKING:
    from jokbo.alignment.mix import Texts
    from jokbo.params import Compute, Optimizer, Ppo
    from jokbo.training.job import Job


def check(
    networks: Networks,
    prompts_NP: Tensor,
    settings: Ppo,
    job: Job,
    texts_at: Callable[[int], Texts] | None = None,
) -> Need:
    """Say what memory PPO will take, and return it. Raises InputError if there is not as much.

    `texts_at` gives the pretraining text of a step, where there is some.
    """
    processes.join()
    texts = texts_at(0) if texts_at else {}
    need = in_process(of_ppo(networks, prompts_NP, settings, job.compute, texts))
    tell(job, need, _all(networks, settings), settings.method)
    return need


def of_ppo(
    networks: Networks, prompts_NP: Tensor, settings: Ppo, compute: Compute, texts: Texts | None = None
) -> Need:
    """Return what PPO takes; `texts` are those of a minibatch."""
    fake, prompt_tokens = faked(networks, _all(networks, settings)), prompts_NP.shape[1]
    everything = [each.eval() for each in _all(fake, settings)]
    passes = Passes(settings.precision, everything)
    rows = settings.minibatch // processes.world()
    micro_batch = min(networks.micro_batch, rows)
    tokens_BS = _sequences(networks, prompts_NP, micro_batch)
    numbers_BR = torch.ones(micro_batch, networks.response_tokens)
    policy = PolicyLoss(fake.policy, settings, prompt_tokens)
    value = ValueLoss(fake.value, settings.value_clip, prompt_tokens)
    several = micro_batch < rows

    def trains(objective: nn.Module, optimizer: Optimizer, more: Texts) -> Need:
        used = passes.peak(lambda: objective(tokens_BS, numbers_BR, numbers_BR, numbers_BR, **more)[0])
        return of_engine(objective, optimizer, used, compute, several=several)

    beside = {name: rows[:micro_batch] for name, rows in (texts or {}).items()}
    with recomputed(fake, compute):
        engines = [
            trains(policy, settings.policy_optimizer, beside),
            trains(value, settings.value_optimizer, {}),
        ]
    together = min(ROWS, settings.rollout_batch // processes.world())
    return Need(
        held(everything) + sum(each.weights for each in engines),
        sum(each.optimizer for each in engines),
        max(
            *(each.activations for each in engines),
            _reading(fake, tokens_BS, settings, passes),
            _sampling(fake, _sequences(networks, prompts_NP, together), passes),
        ),
    )


@torch.no_grad()
def _reading(fake: Networks, tokens_BS: Tensor, settings: Ppo, passes: Passes) -> int:
    """Return what it takes to read what the policy and the reference say of responses, and to score them."""
    prompt_tokens = tokens_BS.shape[1] - fake.response_tokens

    def reference() -> None:
        response_log_probs(fake.reference, tokens_BS, prompt_tokens, settings.temperature)

    def score() -> None:
        heads.of_last(fake.reward, tokens_BS)

    # the policy's distributions are there while the reference is read
    distributions = 4 * len(tokens_BS) * fake.response_tokens * fake.policy.config.vocab_size
    return max(passes.peak(reference) + distributions, passes.peak(score))


@torch.no_grad()
def _sampling(fake: Networks, tokens_BS: Tensor, passes: Passes) -> int:
    """Return what it takes to draw the last token of responses."""
    cache = DynamicCache(config=fake.policy.config)
    options = {"past_key_values": cache, "use_cache": True, "logits_to_keep": 1}
    fake.policy(input_ids=tokens_BS[:, :-1], **options)
    kept = [each for layer in cache.layers for each in (layer.keys, layer.values) if each is not None]  # pyright: ignore[reportAttributeAccessIssue]

    def draw() -> None:
        fake.policy(input_ids=tokens_BS[:, -1:], **options)

    return sum(each.nbytes for each in kept) + passes.peak(draw, kept)


def _sequences(networks: Networks, prompts_NP: Tensor, rows: int) -> Tensor:
    """Return so many prompts, those with padding before all others, as it costs a mask; responses are ends of text."""
    config = networks.policy.config
    padded_N = leading(prompts_NP, config.pad_token_id).any(1)
    order = torch.argsort((~padded_N).int(), stable=True)
    prompts_BP = prompts_NP[order[torch.arange(rows) % len(order)]]
    responses_BR = torch.full((rows, networks.response_tokens), config.eos_token_id)
    return torch.cat([prompts_BP, responses_BR], dim=1)


def _all(networks: Networks, settings: Ppo) -> Iterator[nn.Module]:
    """Yield every module that holds weights, the trunk of adapters among them."""
    yield from (networks.policy, networks.value, networks.reference, networks.reward, *networks.members)
    if settings.method.kind != "full":
        from jokbo.alignment import trunk  # peft takes seconds to import

        yield trunk.backbone_of(networks.policy)
