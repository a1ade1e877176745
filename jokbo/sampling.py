"""Responses sampled from a policy, and how likely each of their tokens was where it was drawn.

`drawn_from` alone says what responses are sampled from. So whatever is made of log-probabilities (PPO's ratio, KL,
entropy) is of that distribution, at any temperature and for any network.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import DynamicCache, PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from jokbo.models import access, causal

ROWS = 128  # prompts sampled at once
NEVER = torch.finfo(
    torch.float32
).min  # a logit: finite, so that differences at padded positions are numbers too


@dataclass(frozen=True)
class Rollout:
    """B prompts of P tokens, each with a response of up to R: what comes after a response's end is padding.

    Shorter prompts are padded on the left.
    """

    tokens_BS: Tensor  # int64 [B, P + R]
    mask_BR: Tensor  # bool [B, R]: the response's tokens, its end of text among them
    prompt_tokens: int
    temperature: float  # at which it was sampled

    @property
    def lengths_B(self) -> Tensor:
        return self.mask_BR.sum(1)

    def ended_B(self, end_of_text: int) -> Tensor:
        """Return which responses came to their end by themselves."""
        return (self.tokens_BS[:, self.prompt_tokens :] == end_of_text).any(1)

    def texts(self, tokenizer: PreTrainedTokenizerBase) -> list[str]:
        """Return the responses without prompts and special tokens."""
        return tokenizer.batch_decode(self.tokens_BS[:, self.prompt_tokens :], skip_special_tokens=True)

    def prompts(self, tokenizer: PreTrainedTokenizerBase) -> list[str]:
        """Return the prompts without padding; a chat template's special tokens are part of them."""
        prompts_BP = self.tokens_BS[:, : self.prompt_tokens]
        begins = causal.leading(prompts_BP, access.padding(tokenizer)).sum(1).tolist()
        return tokenizer.batch_decode([row[i:] for row, i in zip(prompts_BP.tolist(), begins, strict=True)])


def drawn_from(logits: Tensor, config: PretrainedConfig, temperature: float) -> Tensor:
    """Return logits, fp32 [..., V], of what a response's token is drawn from, given those of the network.

    They are divided by the temperature. Padding is never drawn, as it would pass for the end of the response, unless it
    is the end of text itself.
    """
    logits = logits.float() / temperature
    if config.pad_token_id == config.eos_token_id:
        return logits
    padding = torch.tensor([config.pad_token_id], device=logits.device)
    return logits.index_fill(-1, padding, NEVER)


@torch.no_grad()
def sample(
    policy: PreTrainedModel,
    prompts_BP: Tensor,
    *,
    response_tokens: int,
    temperature: float,
    seed: int,
    any_going: Callable[[bool], bool] = bool,
) -> Rollout:
    """Return a response to each prompt, a function of the policy, the prompts, the temperature and the seed alone.

    Where ranks sample together, `any_going` is given on each whether a response there has not ended, and returns
    whether one has not on any: all of them read on until then, as a network whose weights they share needs.

    The global random state is left as it was found.
    """
    policy.eval()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        parts = [
            _continued(policy, rows, response_tokens, temperature, any_going).cpu()
            for rows in prompts_BP.to(policy.device).split(ROWS)
        ]
    responses_BR = torch.cat(parts)
    mask_BR = up_to_end(responses_BR, policy.config.eos_token_id)
    responses_BR = responses_BR.masked_fill(~mask_BR, policy.config.pad_token_id)
    tokens_BS = torch.cat([prompts_BP.cpu(), responses_BR], dim=1)
    return Rollout(tokens_BS, mask_BR, prompts_BP.shape[1], temperature)


def _continued(
    policy: PreTrainedModel,
    tokens_BT: Tensor,
    count: int,
    temperature: float,
    any_going: Callable[[bool], bool],
) -> Tensor:
    """Return responses [B, count]; what comes after a response's end is to be left out.

    Not by `generate`: it would change the distribution by the penalties and cuts of the model's generation_config.json.
    """
    end, padding = policy.config.eos_token_id, policy.config.pad_token_id
    responses_BR = torch.full((len(tokens_BT), count), padding, device=tokens_BT.device)
    going_G = torch.arange(len(tokens_BT), device=tokens_BT.device)  # responses that have not ended
    cache = DynamicCache(config=policy.config)
    where = Padded.of(tokens_BT, padding)
    for position in range(count):
        options = where.options() if where else {}
        output = policy(
            input_ids=tokens_BT, past_key_values=cache, use_cache=True, logits_to_keep=1, **options
        )
        shares_GV = drawn_from(output.logits[:, -1], policy.config, temperature).softmax(-1)
        tokens_BT = torch.multinomial(shares_GV, 1)
        responses_BR[going_G, position] = tokens_BT[:, 0]
        left_G = (tokens_BT[:, 0] != end).nonzero()[:, 0]
        if not any_going(len(left_G) > 0):
            break
        if not len(left_G):
            left_G = torch.zeros(
                1, dtype=torch.long, device=going_G.device
            )  # others read on, so this rank does
        if len(left_G) < len(going_G):
            going_G, tokens_BT = going_G[left_G], tokens_BT[left_G]
            cache.batch_select_indices(left_G)
            where = where and where.of_rows(left_G)
        where = where and where.after()
    return responses_BR


@dataclass(frozen=True)
class Padded:
    """Where the tokens of prompts stand that are padded on the left, as a network takes it token by token."""

    real_BT: Tensor  # int64 [B, T]: 1 where a token so far is no padding
    positions_B1: Tensor  # int64: of the tokens that are read now, one or the whole prompt

    @classmethod
    def of(cls, prompts_BP: Tensor, padding: int) -> Padded | None:
        """Return it for prompts; None if none is padded."""
        positions_BP = causal.padded_positions(prompts_BP, padding)
        if positions_BP is None:
            return None
        return cls((~causal.leading(prompts_BP, padding)).long(), positions_BP)

    def options(self) -> dict[str, Tensor]:
        return {"attention_mask": self.real_BT, "position_ids": self.positions_B1}

    def of_rows(self, rows: Tensor) -> Padded:
        return Padded(self.real_BT[rows], self.positions_B1[rows])

    def after(self) -> Padded:
        """Return it for the next token."""
        one_B1 = torch.ones_like(self.real_BT[:, :1])
        return Padded(torch.cat([self.real_BT, one_B1], dim=1), self.positions_B1[:, -1:] + 1)


def up_to_end(responses_BR: Tensor, end_of_text: int) -> Tensor:
    """Return bool [B, R]: the tokens up to and with the first end of text.

    What follows it is padding, whatever its number.
    """
    ends_BR = (responses_BR == end_of_text).int()
    return ends_BR.cumsum(1) - ends_BR == 0


def response_states(network: PreTrainedModel, tokens_BS: Tensor, prompt_tokens: int) -> Tensor:
    """Return the state [B, R, D] before each response token: what the token is chosen from, not the token."""
    inputs_BT = tokens_BS[:, :-1]
    positions_BT = causal.padded_positions(inputs_BT, network.config.pad_token_id)
    hidden_BTD = network.base_model(
        input_ids=inputs_BT, position_ids=positions_BT, use_cache=False
    ).last_hidden_state
    return hidden_BTD[:, prompt_tokens - 1 :]


def response_distributions(
    policy: PreTrainedModel, tokens_BS: Tensor, prompt_tokens: int, temperature: float
) -> Tensor:
    """Return log p of every token at each position of the response, given all before it: nats, fp32 [B, R, V].

    The distribution is the one that tokens are drawn from.
    """
    logits_BRV = access.language_head(policy)(response_states(policy, tokens_BS, prompt_tokens))
    return drawn_from(logits_BRV, policy.config, temperature).log_softmax(-1)


def chosen(log_probs_BRV: Tensor, tokens_BS: Tensor) -> Tensor:
    """Return what distributions over a response's tokens gave the tokens that stand there, [B, R]."""
    responses_BR = tokens_BS[:, -log_probs_BRV.shape[1] :]
    return log_probs_BRV.gather(-1, responses_BR[..., None]).squeeze(-1)


def response_log_probs(
    policy: PreTrainedModel, tokens_BS: Tensor, prompt_tokens: int, temperature: float
) -> Tensor:
    """Return log p of each response token given all before it, as it is drawn, nats, [B, R]."""
    return chosen(response_distributions(policy, tokens_BS, prompt_tokens, temperature), tokens_BS)


@torch.no_grad()
def sequence_kl(policy: PreTrainedModel, reference: PreTrainedModel, rollout: Rollout) -> Tensor:
    """Return an unbiased estimate of KL(policy || reference) over responses, nats [B].

    It is the log ratio of what was sampled. Of both networks the distribution at the rollout's temperature counts.
    """
    ratio_BR = 0.0
    for network, sign in ((policy, 1.0), (reference, -1.0)):
        network.eval()
        parts = [
            response_log_probs(
                network, rows.to(network.device), rollout.prompt_tokens, rollout.temperature
            ).cpu()
            for rows in rollout.tokens_BS.split(ROWS)
        ]
        ratio_BR = ratio_BR + sign * torch.cat(parts)
    return (ratio_BR * rollout.mask_BR).sum(1)
