"""The question by which a judge is asked about two responses: a Jinja template, in the sandbox of chat templates.

A template is given `prompt`, `first`, `second`, `principle`. What it sets as `lead` is what the judge's answer begins
with, up to the letter; what it sets as `thinking` is what its reasoning begins with.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from jinja2 import StrictUndefined, Template, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from jokbo.runtime.errors import InputError, line_of

OURS = Path(__file__).with_suffix(".jinja")
LEAD, THINKING = "Answer:", "Let us think step by step."  # of a template that sets none


class Question(NamedTuple):
    """What a judge is asked, and what its answer begins with."""

    text: str
    lead: str
    thinking: str


@dataclass(frozen=True)
class Questions:
    """A template of questions."""

    template: Template
    file: Path

    @classmethod
    def of(cls, file: Path = OURS) -> Questions:
        """Return the template in a file. InputError, one line, if it cannot be read, or leaves out what it is given."""
        try:
            environment = ImmutableSandboxedEnvironment(
                undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
            )
            found = cls(environment.from_string(file.read_text("utf-8")), file)
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{file} cannot be read ({error}): put a UTF-8 file there") from error
        except TemplateError as error:
            line = getattr(error, "lineno", None)
            where = f"{file}:{line}" if line else str(file)
            raise InputError(f"{where}: no template of Jinja: {line_of(error)}: correct it") from error
        given = {name: f"the {name} that is shown" for name in ("prompt", "first", "second", "principle")}
        text = found.ask(**given).text
        for name, shown in given.items():
            if shown not in text:
                raise InputError(f"{file} leaves out {name}: write {{{{ {name} }}}} in it")
        return found

    def ask(self, *, prompt: str, first: str, second: str, principle: str) -> Question:
        """Return the question. InputError, one line, if the template fails."""
        try:
            module = self.template.make_module(
                {"prompt": prompt, "first": first, "second": second, "principle": principle}
            )
        except Exception as error:  # whatever the template's own code raises
            raise InputError(f"{self.file} fails ({line_of(error)}): correct it") from error
        lead, thinking = (
            getattr(module, name, own) for name, own in (("lead", LEAD), ("thinking", THINKING))
        )
        return Question(str(module).strip(), str(lead), str(thinking))
