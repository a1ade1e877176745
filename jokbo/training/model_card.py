"""The model card: README.md in a model's folder, with what can be read off the model itself.

It is part of the stage's output, so an edit here trains again. What people may want to word better, what the model is
for and its limits, stands in docs/models.md; scores, which later stages measure, in the report. It holds no time and
no hash: a stage that is run again on the same leaves the same card.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from transformers import PreTrainedModel


def text(model: Path, network: PreTrainedModel, made_from: Sequence[Path]) -> str:
    """Return the card of the model that `network` is, which was made from the models and data at these paths."""
    config = network.config
    task = "text-generation" if network.can_generate() else "text-classification"
    classes = ", ".join(f"`{name}`" for name in (config.id2label or {}).values())
    told = f"\n- **Classes**: {classes}." if type(network).__name__.endswith("ForTokenClassification") else ""
    return f"""---
library_name: transformers
pipeline_tag: {task}
license: other
---
# {model.name}

- **Network**: {type(network).__name__}, {network.num_parameters():,} parameters, {config.num_hidden_layers} layers of
  {config.hidden_size}, a vocabulary of {config.vocab_size:,} tokens, a context of {config.max_position_embeddings}.
- **Made from**: {", ".join(f"`{path}`" for path in made_from)}; `jokbo tree {model}` shows all ancestors.{told}
- **What it is, what it is not for, licence**: docs/models.md.
- **Scores**: reports/report.html.
"""
