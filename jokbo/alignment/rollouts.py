"""Answers sampled from a policy, and how likely each of their tokens was."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

ROWS = 128  # prompts sampled at once


@dataclass(frozen=True)
class Rollout:
    """B prompts of P tokens, each with an answer of up to R: what comes after an answer's end is padding."""

    tokens_BS: Tensor  # int64 [B, P + R]
    mask_BR: Tensor  # bool [B, R]: the answer's tokens, its end of text among them
    prompt_tokens: int

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


@torch.no_grad()
def sample(
    policy: PreTrainedModel, prompts_BP: Tensor, *, response_tokens: int, temperature: float, seed: int
) -> Rollout:
    """An answer to each prompt, a function of the policy, the prompts, the temperature and the seed alone.

    The global random state is left as it was found.
    """
    policy.eval()
    parts = []
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for rows in prompts_BP.to(policy.device).split(ROWS):
            tokens = policy.generate(
                input_ids=rows,
                attention_mask=torch.ones_like(rows),
                max_new_tokens=response_tokens,
                do_sample=True,
                temperature=temperature,
                top_k=0,
                top_p=1.0,
                # a drawn padding token would pass for the end of the answer
                suppress_tokens=[policy.config.pad_token_id],
            )
            missing = prompts_BP.shape[1] + response_tokens - tokens.shape[1]
            parts.append(
                torch.nn.functional.pad(tokens, (0, missing), value=policy.config.pad_token_id).cpu()
            )
    tokens_BS = torch.cat(parts)
    answers_BR = tokens_BS[:, prompts_BP.shape[1] :]
    return Rollout(tokens_BS, answers_BR != policy.config.pad_token_id, prompts_BP.shape[1])


def answer_distributions(policy: PreTrainedModel, tokens_BS: Tensor, prompt_tokens: int) -> Tensor:
    """log p of every token at each place of the answer given all before it, nats, fp32 [B, R, V]."""
    states_BTD = policy.base_model(input_ids=tokens_BS[:, :-1], use_cache=False).last_hidden_state
    logits_BRV = policy.get_output_embeddings()(states_BTD[:, prompt_tokens - 1 :])
    return logits_BRV.float().log_softmax(-1)


def chosen(log_probs_BRV: Tensor, tokens_BS: Tensor) -> Tensor:
    """Of distributions over an answer's tokens, what they gave the tokens that stand there, [B, R]."""
    answers_BR = tokens_BS[:, -log_probs_BRV.shape[1] :]
    return log_probs_BRV.gather(-1, answers_BR[..., None]).squeeze(-1)


def answer_log_probs(policy: PreTrainedModel, tokens_BS: Tensor, prompt_tokens: int) -> Tensor:
    """log p of each answer token given all before it, nats, [B, R]."""
    return chosen(answer_distributions(policy, tokens_BS, prompt_tokens), tokens_BS)


@torch.no_grad()
def sequence_kl(policy: PreTrainedModel, reference: PreTrainedModel, rollout: Rollout) -> Tensor:
    """An unbiased estimate of KL(policy || reference) over answers, nats [B]: the log ratio of what was sampled."""
    ratio_BR = 0.0
    for network, sign in ((policy, 1.0), (reference, -1.0)):
        network.eval()
        parts = [
            answer_log_probs(network, rows.to(network.device), rollout.prompt_tokens).cpu()
            for rows in rollout.tokens_BS.split(ROWS)
        ]
        ratio_BR = ratio_BR + sign * torch.cat(parts)
    return (ratio_BR * rollout.mask_BR).sum(1)
