"""Keys that params.yaml or family/params.yaml had once, and what they are called now or where they stand. An old key is
refused in one line that gives the new one."""

RENAMED = {  # *: any system
    "family.systems.*.batch": "family.systems.*.batch_size",
    "family.systems.*.unit": "family.systems.*.neuron",
    "family.systems.*.width": "family.systems.*.hidden_size",
    "family.finetune.batch": "family.finetune.batch_size",
    "family_baselines.finetune.batch": "family_baselines.finetune.batch_size",
    "family_baselines.lstm.width": "family_baselines.lstm.hidden_size",
    "pretrain.model": "pretrain.start",
    **{
        f"{section}.training.batch": f"{section}.training.batch_size"
        for section in ("pretrain", "finetune.policy", "distill", "reward")
    },
    "finetune.classifier": "finetune.tasks.rotten_tomatoes",
    "finetune.policy.sources": "prompts.sources",
    "finetune.policy.prompt_tokens": "prompts.prompt_tokens",
    "finetune.policy.response_tokens": "prompts.response_tokens",
    "prompts.sentences_per_review": "prompts.prompts_per_text",
    "finetune.policy.sentences_per_review": "finetune.policy.prompts_per_text",
    "distill.sentences_per_review": "distill.prompts_per_text",
    "ppo": "align (with kind: ppo)",
    **{
        f"preferences.{old}": f"preferences.labellers.NAME.{new} (of kind {kind})"
        for old, new, kind in (
            ("human_sources", "sources", "ratings"),
            ("human_pairs", "pairs", "ratings"),
            ("test_pairs", "test_pairs", "ratings"),
            ("minimum_agreement", "minimum_agreement", "ratings"),
            ("prompts", "prompts", "simulated"),
            ("responses_per_prompt", "responses_per_prompt", "simulated"),
            ("temperature", "temperature", "simulated"),
        )
    },
}

MOVED = dict.fromkeys(("family_text", "family", "family_baselines"), "family/params.yaml")


def new_name(keys: list[str]) -> str | None:
    """Return what the key that these lead to is called now; None if it was never called so."""
    system = keys[2] if keys[:2] == ["family", "systems"] and len(keys) == 4 else None
    old = [*keys[:2], "*", keys[3]] if system else keys
    found = RENAMED.get(".".join(old))
    return found.replace("*", system) if found and system else found
