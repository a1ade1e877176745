"""docs/results/control.md, from control/table.json: what `make results` says of the control tasks."""

from __future__ import annotations

from pathlib import Path

from flows.control import TABLE
from jokbo.control import figures, table
from jokbo.runtime import kept
from jokbo.runtime.files import read_if_there, write_text

PAGE = Path("docs/results/control.md")


def written() -> str:
    """Write the page and its figures; return what docs/results.md says of them."""
    found = read_if_there(TABLE)
    if found is None:
        return f"Not measured yet: `python -m flows.control` does, and leaves {TABLE}."
    measured = f"Measured {kept.when(found)}, by `python -m flows.control`."
    shown, claims = table.table(found), table.claims(found)
    parts = [
        "# Control tasks",
        "Written by `make results`; not by hand. [How it is measured](../control.md).",
    ]
    parts += [measured, f"{shown.caption}.", shown.markdown().strip()]
    parts += ["## Claims", claims.markdown(6).strip(), claims.caption, "## Learning curves"]
    parts.append(
        "Return of the last episodes over steps of the environment; bands are 95% intervals over seeds. The dashed "
        "line is the random policy."
    )
    for chart in figures.charts(found):
        path = PAGE.with_name(f"{chart.name}.svg")
        write_text(path, figures.svg(chart))
        parts.append(f"![{chart.alt}]({path.name})")
    write_text(PAGE, "\n\n".join(parts) + "\n")
    told = "A2C, A3C and PPO, with and without clipping, on classic control tasks: the table, its claims and figures"
    return f"[{told}](results/control.md). {measured}"
