"""How a command of jokbo ends: its mistakes are one line. How it goes on as a flow."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import wraps
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn

import typer

from jokbo.runtime import files
from jokbo.runtime.errors import BAD_INPUT, InputError

STATE = Path(".jokbo")  # of the project in which a command is typed
# settings of a command whose words all go to another one, --help too
PASSED_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


def in_one_line(command: Callable[..., None]) -> Callable[..., None]:
    """Return the command, which ends with one line for bad input (2), and with none for Ctrl-C (130) or a reader that
    has gone (141), such as `head`.
    """

    @wraps(command)
    def guarded(*arguments: Any, **options: Any) -> None:
        try:
            with files.in_one_line():
                command(*arguments, **options)
                sys.stdout.flush()
        except KeyboardInterrupt:
            sys.exit(130)
        except BrokenPipeError:
            os.dup2(
                os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno()
            )  # what is left must not be written at exit
            sys.exit(141)
        except OSError as error:
            print(f"jokbo: {error.filename or command.__name__}: {error.strerror or error}", file=sys.stderr)
            sys.exit(BAD_INPUT)

    return guarded


def hand_over(app: typer.Typer, name: str, module: str, *words: str, says: str) -> None:
    """Add a command to the app that goes on as `python -m MODULE WORDS`, with whatever follows its name."""

    def command(context: typer.Context) -> None:
        become(module, *words, *context.args)

    app.command(name, help=says, context_settings=PASSED_ON)(in_one_line(command))


def become(module: str, *arguments: str) -> NoReturn:
    """Go on as `python -m MODULE` of the project, in this process's place, so that whoever stops this one stops that.

    InputError if this folder is no project's.
    """
    if not (Path("flows").is_dir() or find_spec("flows")):
        raise InputError("flows: not there: run this in the folder of a project, a clone of jokbo")
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", module, *arguments])
