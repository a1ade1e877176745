"""The look that the pages of results share (page.html.jinja).

A page extends page.html.jinja and takes its tables and panels of figures from page.macros.html.jinja.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from jokbo.reporting import figures, tables


def render(template: str, **values: Any) -> str:
    """Return a template, by its path in this folder, as one HTML text; StrictUndefined names what is not given."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parents[1]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["svg"] = figures.svg
    environment.filters["share"] = tables.share
    environment.filters["number"] = tables.number
    return environment.get_template(template).render(values)
