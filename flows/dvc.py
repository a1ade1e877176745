"""`python -m flows.dvc ...` is DVC's own command line, but whatever kills it leaves dvc.lock whole.

DVC writes its YAML files in place, dvc.lock for a second: who is killed then leaves half of it.
"""

from __future__ import annotations

import logging
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from dvc.cli import main as command_line
from dvc.exceptions import DvcException
from dvc.fs import LocalFileSystem
from dvc.utils.serialize import _common, _yaml

from jokbo.runtime.errors import InputError
from jokbo.runtime.files import atomic_write_file, refusal
from tasks.frame import projects
from tasks.frame.identity import project

IN_PLACE = _common._dump_data  # private: tests/flows/test_dvc.py fails if DVC comes to write otherwise


def whole(path: Any, data: Any, dumper: Any, fs: Any = None, **more: Any) -> None:
    """Return what DVC calls to write a YAML file, with the file put in place when it is whole."""
    if fs is not None and not isinstance(fs, LocalFileSystem):
        IN_PLACE(path, data, dumper, fs=fs, **more)
        return
    with atomic_write_file(Path(path)) as file:
        dumper(data, file, **more)


def refused(record: logging.LogRecord) -> None:
    """Raise InputError if DVC is about to log what the disk refused it.

    Left to itself it logs a line a file, and goes on: a stage is recorded as done whose output is not in the cache.
    """
    error = record.exc_info[1] if record.exc_info else None
    if error is None or (line := refusal(error, projects.root() / ".dvc/cache")) is None:
        return
    partial = getattr(error, "filename2", None)
    if partial and str(partial).endswith(".tmp"):  # DVC leaves it
        Path(partial).unlink(missing_ok=True)
    raise InputError(line) from error


def main() -> int:
    """Mend what a killed DVC left, then do as `dvc` does.

    Returns its exit status; 2 for what only the user can do.
    """
    arguments = sys.argv[1:]
    if arguments[:1] == ["--cd"]:  # DVC's own option, heeded here as what is to be mended is there
        os.chdir(arguments[1])
        arguments = arguments[2:]
    for name in ("dvc", "dvc_data", "dvc_objects"):
        for handler in logging.getLogger(name).handlers:
            handler.addFilter(lambda record: refused(record) is None)
    _common._dump_data = _yaml._dump_data = whole
    try:
        with suppress(DvcException), project():  # what it makes of a wrong dvc.yaml DVC says itself
            pass
        return command_line(arguments)
    except InputError as error:
        print(f"jokbo: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
