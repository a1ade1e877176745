"""The licences of the texts, and of the model, that a project's models descend from: its data card names them."""

from __future__ import annotations

from pathlib import Path

from jokbo.reporting.data_card import DataCard
from jokbo.runtime import ancestry

CARD = Path("reports/data-card.json")


def licences(model: Path) -> dict[str, str]:
    """Return the licences by what they are of. Empty if no data card stands in the model's project.

    Raises InputError for a data card that is not whole.
    """
    file = ancestry.recorded(model).resolve().parent.parent / CARD
    if not file.is_file():
        return {}
    card = DataCard.load(file)
    found = {f"texts of {name}": "; ".join(source.licences) for name, source in card.sources.items()}
    if card.start.licence:  # none of a model from scratch
        found = {f"model {card.start.source}": card.start.licence, **found}
    return found
