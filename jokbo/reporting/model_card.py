"""The model card: README.md in a model's folder, with what the stage that made it knows of it.

Scores are in the report and in MLflow, for later stages measure them. It holds no time and no hash: a stage that is
run again on the same leaves the same card.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

from transformers import PreTrainedModel

WRITES = "It continues a text. It is small, knows only what its texts say, and states falsehoods as fluently as truths."
SCORES = "It scores texts and writes none. It was fitted to texts of one kind, and means little on others."
ABOUT = {
    "base": ("A language model, pretrained to predict the next word.", WRITES),
    "policy": (
        "The supervised policy: the base model, fine-tuned to continue the beginning of a text and to end.",
        WRITES,
    ),
    "student": ("The distilled model: it has fewer layers, and learned from the supervised policy.", WRITES),
    "aligned": (
        "The policy after PPO: it writes what the reward model scores highly.",
        f"{WRITES} It has the faults of its reward model, and of those whose preferences that learned.",
    ),
    "classifier": (
        "A classifier of sentences, positive (1) or negative (0), from the base model, fine-tuned.",
        SCORES,
    ),
    "reward": ("The reward model: the higher its score, the more a response was preferred.", SCORES),
}


def text(model: Path, network: PreTrainedModel, made_from: Sequence[Path]) -> str:
    """Return the card of the model that `network` is, which was made from the models and data at these paths."""
    what, limits = ABOUT[model.name]
    config = network.config
    task = "text-classification" if limits == SCORES else "text-generation"
    return f"""---
library_name: transformers
pipeline_tag: {task}
license: other
---
# {model.name}

{what}

- **Network**: {type(network).__name__}, {network.num_parameters():,} parameters, {config.num_hidden_layers} layers of
  {config.hidden_size}, a vocabulary of {config.vocab_size:,} tokens, a context of {config.max_position_embeddings}.
- **Made from**: {", ".join(f"`{path}`" for path in made_from)}. `jokbo tree models/{model.name}` shows all ancestors.
- **Licence**: the code that made it is under Apache-2.0. What its texts allow holds for it too: reports/data-card.md
  names their licences.
- **Limits**: {textwrap.fill(limits, 110, subsequent_indent="  ")}
- **Scores**: in reports/report.html and in MLflow (`make ui`).
"""
