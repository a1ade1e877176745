"""PPO from a reward model, with a KL penalty (Ziegler et al. 2019, section 2.2; Schulman et al. 2017).

Read `iterate` from top to bottom: sample answers, score them, charge the policy for its distance from the reference,
estimate advantages, and take several epochs of clipped steps on policy and value. Four networks: the policy and the
value are DeepSpeed engines; the reference and the reward model are frozen. Dropout is off everywhere: every network
stays in evaluation mode, so that the first ratio of a rollout is exactly one.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import deepspeed
import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from jokbo.alignment import reward as reward_model
from jokbo.alignment.rollouts import Rollout, answer_distributions, answer_log_probs, chosen, sample
from jokbo.data.batches import sample_indices
from jokbo.training import checkpoints, engine, processes
from jokbo.training.interruption import polled
from jokbo.training.progress import Progress

if TYPE_CHECKING:
    from jokbo.params import Compute, Ppo
    from jokbo.tracking import Run


class PolicyLoss(nn.Module):
    """The clipped surrogate (Schulman et al. 2017, equation 7), a mean over the answer tokens of the minibatch."""

    def __init__(self, network: PreTrainedModel, clip: float, prompt_tokens: int) -> None:
        super().__init__()
        self.network, self.clip, self.prompt_tokens = network, clip, prompt_tokens

    def forward(
        self, tokens_BS: Tensor, mask_BR: Tensor, old_log_probs_BR: Tensor, advantages_BR: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        log_ratio_BR = answer_log_probs(self.network, tokens_BS, self.prompt_tokens) - old_log_probs_BR
        ratio_BR = log_ratio_BR.exp()
        clipped_BR = ratio_BR.clamp(1 - self.clip, 1 + self.clip)
        loss_BR = -torch.minimum(ratio_BR * advantages_BR, clipped_BR * advantages_BR)
        outside_BR = ((ratio_BR - 1).abs() > self.clip).float()
        return masked_mean(loss_BR, mask_BR), {
            "clip_fraction": masked_mean(outside_BR, mask_BR).detach(),
            # a low-variance estimate of KL(old || new) that is never negative (Schulman 2020)
            "step_kl": masked_mean(ratio_BR - 1 - log_ratio_BR, mask_BR).detach(),
        }


class ValueLoss(nn.Module):
    """Squared error of the value, clipped about the value at sampling time as the policy's ratio is about one."""

    def __init__(self, network: PreTrainedModel, clip: float, prompt_tokens: int) -> None:
        super().__init__()
        self.network, self.clip, self.prompt_tokens = network, clip, prompt_tokens

    def forward(
        self, tokens_BS: Tensor, mask_BR: Tensor, old_values_BR: Tensor, returns_BR: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        values_BR = answer_values(self.network, tokens_BS, self.prompt_tokens)
        near_BR = old_values_BR + (values_BR - old_values_BR).clamp(-self.clip, self.clip)
        error_BR = torch.maximum((values_BR - returns_BR) ** 2, (near_BR - returns_BR) ** 2)
        return 0.5 * masked_mean(error_BR, mask_BR), {}


def answer_values(network: PreTrainedModel, tokens_BS: Tensor, prompt_tokens: int) -> Tensor:
    """The value [B, R] of the state before each answer token: of what the token is chosen from, not of the token."""
    hidden_BTD = network.base_model(input_ids=tokens_BS[:, :-1], use_cache=False).last_hidden_state
    return network.score(hidden_BTD[:, prompt_tokens - 1 :]).squeeze(-1).float()


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """The mean of the values where the mask is true."""
    return (values * mask).sum() / mask.sum()


def whiten(values: Tensor, mask: Tensor) -> Tensor:
    """The values with mean 0 and variance 1 over the mask, and 0 elsewhere."""
    mean = masked_mean(values, mask)
    variance = masked_mean((values - mean) ** 2, mask)
    return (values - mean) * torch.rsqrt(variance + 1e-8) * mask


def advantages_and_returns(
    rewards_BR: Tensor, values_BR: Tensor, mask_BR: Tensor, *, discount: float, gae_lambda: float
) -> tuple[Tensor, Tensor]:
    """Generalised advantage estimates and the returns they imply (Schulman et al. 2016, equation 16), both [B, R].

    After an answer's last token nothing follows: the value there is 0, ended by itself or cut short alike.
    """
    values_BR = values_BR * mask_BR
    advantages_BR = torch.zeros_like(rewards_BR)
    later_B = torch.zeros(len(rewards_BR))
    for t in reversed(range(rewards_BR.shape[1])):
        next_B = values_BR[:, t + 1] if t + 1 < rewards_BR.shape[1] else torch.zeros(len(rewards_BR))
        error_B = rewards_BR[:, t] + discount * next_B - values_BR[:, t]
        later_B = (error_B + discount * gae_lambda * later_B) * mask_BR[:, t]
        advantages_BR[:, t] = later_B
    return advantages_BR, advantages_BR + values_BR


@dataclass
class KlController:
    """beta, moved in proportion to how far KL is from its target, by a fifth at most (Ziegler et al., section 2.2)."""

    beta: float
    target: float
    gain: float

    def update(self, kl: float) -> None:
        error = max(-0.2, min(0.2, kl / self.target - 1))
        self.beta *= 1 + self.gain * error


def align(
    policy: PreTrainedModel,
    value: PreTrainedModel,
    reference: PreTrainedModel,
    reward: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts_NP: Tensor,
    settings: Ppo,
    compute: Compute,
    *,
    checkpoint_folder: Path,
    run: Run,
) -> list[dict[str, float]]:
    """Trains `policy` and `value` in place; returns the row of metrics of each iteration.

    Prompts, samples and minibatches of an iteration are functions of (seed, iteration) alone. Raises Interrupted
    after SIGTERM, with a checkpoint of the last whole iteration on disk.
    """
    processes.join()
    start, answer = prompts_NP.shape[1], policy.config.response_tokens
    shared = {
        "batch": settings.minibatch,
        "precision": settings.precision,
        "gradient_clip": settings.gradient_clip,
        "compute": compute,
    }
    engines = {
        "policy": engine.start(
            PolicyLoss(policy, settings.clip, start), optimizer=settings.policy_optimizer, **shared
        ),
        "value": engine.start(
            ValueLoss(value, settings.value_clip, start), optimizer=settings.value_optimizer, **shared
        ),
    }
    engine.prefer_attention(reference)  # computed as the policy is, it starts at a KL of zero
    for network in (policy, value, reference.to(policy.device), reward.to(policy.device)):
        network.eval()
    networks = Networks(engines["policy"], engines["value"], reference, reward)
    iteration, state = checkpoints.restore(checkpoint_folder, engines)
    controller = KlController(
        state.get("beta", settings.kl_coefficient), settings.kl_target, settings.kl_gain
    )
    history: list[dict[str, float]] = state.get("history", [])
    saver = engine.Saver("ppo", checkpoint_folder, engines, run, compute.checkpoint_seconds)
    with (
        polled() as stop,
        Progress("ppo", settings.iterations, done=iteration, writes=checkpoint_folder) as bar,
    ):
        while iteration < settings.iterations:
            indices = sample_indices(
                iteration, settings.rollout_batch, len(prompts_NP), settings.seed, "prompts"
            )
            seed = int(np.random.SeedSequence([settings.seed, iteration]).generate_state(1)[0])
            rollout, scores_B, row = iterate(
                networks, controller, prompts_NP[torch.from_numpy(indices)], settings, answer, seed
            )
            iteration += 1
            engine.check_finite("ppo", iteration, row)
            engine.check_weights("ppo", iteration, engines)  # nobody can sample from what is not
            history.append({"step": iteration, **row})
            run.log({f"ppo/{key}": value for key, value in row.items()}, step=iteration)
            bar.advance(reward=row["reward"], kl=row["kl"])
            if iteration % settings.sample_every == 0 or iteration == settings.iterations:
                run.text(shown(rollout, scores_B, tokenizer), f"samples/iteration-{iteration:05d}.txt")
            saver.step_done(
                iteration,
                {"beta": controller.beta, "history": history},
                last=iteration == settings.iterations,
                stopping=stop.requested,
            )
    return history


def shown(rollout: Rollout, scores_B: Tensor, tokenizer: PreTrainedTokenizerBase, count: int = 8) -> str:
    """The first samples of a rollout to be read by people: reward, prompt | answer."""
    rows = zip(scores_B.tolist(), rollout.prompts(tokenizer), rollout.texts(tokenizer), strict=True)
    return "\n".join(f"{score:+.2f}  {prompt} |{text}" for score, prompt, text in list(rows)[:count]) + "\n"


@dataclass(frozen=True)
class Networks:
    policy: deepspeed.DeepSpeedEngine  # of a PolicyLoss
    value: deepspeed.DeepSpeedEngine  # of a ValueLoss
    reference: PreTrainedModel
    reward: PreTrainedModel


def iterate(
    networks: Networks,
    controller: KlController,
    prompts_BP: Tensor,
    settings: Ppo,
    response_tokens: int,
    seed: int,
) -> tuple[Rollout, Tensor, dict[str, float]]:
    """One iteration of PPO. Returns the rollout, its rewards [B] and the numbers to log.

    `seed` fixes what is sampled and the order of minibatches.
    """
    policy, value = networks.policy.module.network, networks.value.module.network
    rollout = sample(
        policy, prompts_BP, response_tokens=response_tokens, temperature=settings.temperature, seed=seed
    )
    tokens_BS, mask_BR, start = rollout.tokens_BS.to(policy.device), rollout.mask_BR, rollout.prompt_tokens
    # in the precision of the engines: old and new probabilities must be computed alike
    with torch.no_grad(), processes.autocast(settings.precision):
        log_probs_BRV = answer_distributions(policy, tokens_BS, start)
        old_BR = chosen(log_probs_BRV, tokens_BS).cpu()
        entropy_BR = -(log_probs_BRV.exp() * log_probs_BRV).sum(-1).cpu()
        reference_BR = answer_log_probs(networks.reference, tokens_BS, start).cpu()
        values_BR = answer_values(value, tokens_BS, start).cpu()
    end, padding = policy.config.eos_token_id, policy.config.pad_token_id
    scores_B = reward_model.rewards(networks.reward, reward_model.closed(rollout.tokens_BS, end, padding))
    ended_B = rollout.ended_B(end)
    scores_B = scores_B - settings.unfinished_penalty * ~ended_B

    # the reward of a token is what it costs to leave the reference there; the answer's score comes with its last
    kl_BR = (old_BR - reference_BR) * mask_BR
    rewards_BR = -controller.beta * kl_BR
    rewards_BR[torch.arange(len(scores_B)), rollout.lengths_B - 1] += scores_B
    advantages_BR, returns_BR = advantages_and_returns(
        rewards_BR, values_BR, mask_BR, discount=settings.discount, gae_lambda=settings.gae_lambda
    )
    explained = 1 - _variance(returns_BR - values_BR, mask_BR) / _variance(returns_BR, mask_BR)
    shared = {"tokens_BS": rollout.tokens_BS, "mask_BR": mask_BR}
    policy_batch = {**shared, "old_log_probs_BR": old_BR, "advantages_BR": whiten(advantages_BR, mask_BR)}
    value_batch = {**shared, "old_values_BR": values_BR, "returns_BR": returns_BR}
    steps: list[dict[str, float]] = []
    generator = torch.Generator().manual_seed(seed)
    for _ in range(settings.epochs):
        order = torch.randperm(len(scores_B), generator=generator)
        for rows in order.split(settings.minibatch):
            policy_row = _update(networks.policy, policy_batch, rows)
            value_row = _update(networks.value, value_batch, rows)
            steps.append(
                {"policy_loss": policy_row.pop("loss"), "value_loss": value_row["loss"], **policy_row}
            )
    kl = kl_BR.sum(1).mean().item()
    row = {
        "reward": scores_B.mean().item(),
        "reward_std": scores_B.std().item(),
        "kl": kl,
        "kl_per_token": masked_mean(kl_BR, mask_BR).item(),
        "beta": controller.beta,
        "entropy": masked_mean(entropy_BR, mask_BR).item(),  # of what the tokens were drawn from, nats
        "explained_variance": explained.item(),
        "response_length": rollout.lengths_B.float().mean().item(),
        "ended": ended_B.float().mean().item(),
        **{key: sum(step[key] for step in steps) / len(steps) for key in steps[0]},
    }
    controller.update(kl)
    return rollout, scores_B, row


def _update(engine: deepspeed.DeepSpeedEngine, batch: dict[str, Tensor], rows: Tensor) -> dict[str, float]:
    loss, metrics = engine(**{key: value[rows].to(engine.device) for key, value in batch.items()})
    engine.backward(loss)
    engine.step()
    return {"loss": loss.item(), **{key: value.item() for key, value in metrics.items()}}


def _variance(values: Tensor, mask: Tensor) -> Tensor:
    return masked_mean((values - masked_mean(values, mask)) ** 2, mask)
