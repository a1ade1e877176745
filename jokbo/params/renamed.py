"""Keys that params.yaml had, and what they are called now, or where: whoever writes an old one is told the new one."""

RENAMED = {
    "finetune.policy.sources": "prompts.sources",
    "finetune.policy.prompt_tokens": "prompts.prompt_tokens",
    "finetune.policy.response_tokens": "prompts.response_tokens",
    "ppo.sample_every": "ppo.rollouts_every",
}

MOVED = dict.fromkeys(("family_text", "family", "family_baselines"), "family/params.yaml")
