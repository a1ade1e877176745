"""`python -m tests.support.comments` writes into params.yaml and those of family/, alignment/, control/ and scaling/,
behind each key, what the schema says of it.

The schema's docstrings are the one place for that; tests/params/test_params.py holds the files to them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from ruamel.yaml import YAML

from jokbo.control.settings import ControlParams
from jokbo.params import AlignmentParams, FamilyParams, Params, ScalingParams
from jokbo.params.base import Section

COLUMN, WIDTH = 32, 120
FILES: dict[str, type[Section]] = {
    "params.yaml": Params,
    "family/params.yaml": FamilyParams,
    "alignment/params.yaml": AlignmentParams,
    "control/params.yaml": ControlParams,
    "scaling/params.yaml": ScalingParams,
}


def commented(text: str, root: type[Section] = Params) -> str:
    """Return the text of params.yaml with the first sentence of each key's description behind it, or above a section
    and a line that is long. Other comments right above such a key are left out, so that none says the same twice."""
    written = text.splitlines()
    lines: dict[int, str] = dict(enumerate(written))
    for number, description in _described(YAML().load(text), root):
        above = number - 1
        while above >= 0 and written[above].lstrip().startswith("#"):
            del lines[above]
            above -= 1
        comment = f"# {description.splitlines()[0].removesuffix('.')}"
        code = re.sub(r"\s+#.*$", "", written[number])
        behind = f"{code.ljust(COLUMN - 2)}  {comment}"
        if code.startswith(" ") and len(behind) <= WIDTH:
            lines[number] = behind
        else:
            indent = code[: len(code) - len(code.lstrip())]
            lines[number] = f"{indent}{comment}\n{code}"
    return "\n".join(lines.values()) + "\n"


def _described(node: Any, model: type[Section]) -> Iterator[tuple[int, str]]:
    """Yield line and description of each key that begins a line, in a section that is no flow mapping."""
    for key, value in node.items():
        field = model.model_fields[key]
        yield node.lc.key(key)[0], field.description or ""
        models, inner = sections_in(field.annotation), [value]
        if models and _is_mapping(field.annotation):  # of names that the user gives
            inner = list(value.values())
        for each in inner:
            if models and isinstance(each, dict) and not each.fa.flow_style():
                yield from _described(each, _fitting(models, each))


def sections_in(annotation: Any) -> list[type[Section]]:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation]
    return [section for inner in get_args(annotation) for section in sections_in(inner)]


def _is_mapping(annotation: Any) -> bool:
    return getattr(annotation, "__origin__", None) is dict


def _fitting(models: list[type[Section]], node: Any) -> type[Section]:
    """Return the section of a union that has all keys of the node."""
    return next(model for model in models if set(node) <= set(model.model_fields))


def main() -> None:
    for name, root in FILES.items():
        path = Path(name)
        before = path.read_text()
        after = commented(before, root)
        path.write_text(after)
        print(f"{name} was right" if after == before else f"{name} rewritten: see `git diff {name}`")


if __name__ == "__main__":
    main()
