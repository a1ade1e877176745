"""Keys that params.yaml had once, and what they are called now or where they stand. An old key is refused in one line
that gives the new one."""

RENAMED = {
    "finetune.policy.sources": "prompts.sources",
    "finetune.policy.prompt_tokens": "prompts.prompt_tokens",
    "finetune.policy.response_tokens": "prompts.response_tokens",
    "ppo.sample_every": "ppo.rollouts_every",
    "prompts.sentences_per_review": "prompts.prompts_per_text",
    "finetune.policy.sentences_per_review": "finetune.policy.prompts_per_text",
    "distill.sentences_per_review": "distill.prompts_per_text",
    "ppo.sentences_per_review": "ppo.prompts_per_text",
}

MOVED = dict.fromkeys(("family_text", "family", "family_baselines"), "family/params.yaml")
