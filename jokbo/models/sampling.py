"""Answers sampled from a policy, and how likely each of their tokens was where it was drawn.

`drawn_from` alone says what answers are sampled from. So whatever is made of log-probabilities (PPO's ratio, KL,
entropy) is of that distribution, at any temperature and for any network.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from jokbo.models import access

ROWS = 128  # prompts sampled at once
NEVER = torch.finfo(
    torch.float32
).min  # a logit: finite, so that differences at padded places are numbers too


@dataclass(frozen=True)
class Rollout:
    """B prompts of P tokens, each with an answer of up to R: what comes after an answer's end is padding."""

    tokens_BS: Tensor  # int64 [B, P + R]
    mask_BR: Tensor  # bool [B, R]: the answer's tokens, its end of text among them
    prompt_tokens: int
    temperature: float  # at which it was sampled

    @property
    def lengths_B(self) -> Tensor:
        return self.mask_BR.sum(1)

    def ended_B(self, end_of_text: int) -> Tensor:
        """Which answers came to their end by themselves."""
        return (self.tokens_BS[:, self.prompt_tokens :] == end_of_text).any(1)

    def texts(self, tokenizer: PreTrainedTokenizerBase) -> list[str]:
        """The answers without prompts and marks."""
        return tokenizer.batch_decode(self.tokens_BS[:, self.prompt_tokens :], skip_special_tokens=True)

    def prompts(self, tokenizer: PreTrainedTokenizerBase) -> list[str]:
        return tokenizer.batch_decode(self.tokens_BS[:, : self.prompt_tokens], skip_special_tokens=True)


def drawn_from(logits: Tensor, config: PretrainedConfig, temperature: float) -> Tensor:
    """Logits, fp32 [..., V], of what an answer's token is drawn from, given those of the network.

    They are divided by the temperature. Padding is never drawn, as it would pass for the end of the answer, unless it
    is the end of text itself.
    """
    logits = logits.float() / temperature
    if config.pad_token_id == config.eos_token_id:
        return logits
    padding = torch.tensor([config.pad_token_id], device=logits.device)
    return logits.index_fill(-1, padding, NEVER)


@torch.no_grad()
def sample(
    policy: PreTrainedModel, prompts_BP: Tensor, *, response_tokens: int, temperature: float, seed: int
) -> Rollout:
    """An answer to each prompt, a function of the policy, the prompts, the temperature and the seed alone.

    The global random state is left as it was found.
    """
    policy.eval()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        parts = [
            _continued(policy, rows, response_tokens, temperature).cpu()
            for rows in prompts_BP.to(policy.device).split(ROWS)
        ]
    answers_BR = torch.cat(parts)
    return Rollout(
        torch.cat([prompts_BP.cpu(), answers_BR], dim=1),
        up_to_end(answers_BR, policy.config.eos_token_id),
        prompts_BP.shape[1],
        temperature,
    )


def _continued(policy: PreTrainedModel, tokens_BT: Tensor, count: int, temperature: float) -> Tensor:
    """Answers [B, count]. Not by `generate`, which would change the distribution by whatever penalties and cuts the
    model's generation_config.json asks for."""
    end, padding = policy.config.eos_token_id, policy.config.pad_token_id
    answers_BR = torch.full((len(tokens_BT), count), padding, device=tokens_BT.device)
    going_B = torch.ones(len(tokens_BT), dtype=torch.bool, device=tokens_BT.device)
    cache = None
    for place in range(count):
        output = policy(input_ids=tokens_BT, past_key_values=cache, use_cache=True, logits_to_keep=1)
        cache = output.past_key_values
        shares_BV = drawn_from(output.logits[:, -1], policy.config, temperature).softmax(-1)
        tokens_BT = torch.multinomial(shares_BV, 1)
        answers_BR[going_B, place] = tokens_BT[going_B, 0]
        going_B = going_B & (tokens_BT[:, 0] != end)
        if not going_B.any():
            break
    return answers_BR


def up_to_end(answers_BR: Tensor, end_of_text: int) -> Tensor:
    """Bool [B, R]: the tokens up to and with the first end of text. What follows it is padding, whatever its number."""
    ends_BR = (answers_BR == end_of_text).int()
    return ends_BR.cumsum(1) - ends_BR == 0


def answer_distributions(
    policy: PreTrainedModel, tokens_BS: Tensor, prompt_tokens: int, temperature: float
) -> Tensor:
    """log p of every token at each place of the answer given all before it, as it is drawn there, nats, fp32
    [B, R, V]."""
    states_BTD = policy.base_model(input_ids=tokens_BS[:, :-1], use_cache=False).last_hidden_state
    logits_BRV = access.language_head(policy)(states_BTD[:, prompt_tokens - 1 :])
    return drawn_from(logits_BRV, policy.config, temperature).log_softmax(-1)


def chosen(log_probs_BRV: Tensor, tokens_BS: Tensor) -> Tensor:
    """Of distributions over an answer's tokens, what they gave the tokens that stand there, [B, R]."""
    answers_BR = tokens_BS[:, -log_probs_BRV.shape[1] :]
    return log_probs_BRV.gather(-1, answers_BR[..., None]).squeeze(-1)


def answer_log_probs(
    policy: PreTrainedModel, tokens_BS: Tensor, prompt_tokens: int, temperature: float
) -> Tensor:
    """log p of each answer token given all before it, as it is drawn, nats, [B, R]."""
    return chosen(answer_distributions(policy, tokens_BS, prompt_tokens, temperature), tokens_BS)


@torch.no_grad()
def sequence_kl(policy: PreTrainedModel, reference: PreTrainedModel, rollout: Rollout) -> Tensor:
    """An unbiased estimate of KL(policy || reference) over answers, nats [B]: the log ratio of what was sampled.

    Of both networks the distribution at the rollout's temperature counts.
    """
    ratio_BR = 0.0
    for network, sign in ((policy, 1.0), (reference, -1.0)):
        network.eval()
        parts = [
            answer_log_probs(
                network, rows.to(network.device), rollout.prompt_tokens, rollout.temperature
            ).cpu()
            for rows in rollout.tokens_BS.split(ROWS)
        ]
        ratio_BR = ratio_BR + sign * torch.cat(parts)
    return (ratio_BR * rollout.mask_BR).sum(1)
