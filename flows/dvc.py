"""`python -m flows.dvc ...` is DVC's own command line, but whatever kills it leaves dvc.lock whole.

DVC writes its YAML files in place, dvc.lock for a second: who is killed then leaves half of it.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from dvc.cli import main as command_line
from dvc.exceptions import DvcException
from dvc.fs import LocalFileSystem
from dvc.utils.serialize import _common, _yaml

from jokbo.errors import InputError
from jokbo.files import whole_file
from tasks.identity import project

IN_PLACE = _common._dump_data  # private: tests/flows/test_dvc.py fails if DVC comes to write otherwise


def whole(path: Any, data: Any, dumper: Any, fs: Any = None, **more: Any) -> None:
    """What DVC calls to write a YAML file, with the file put in place when it is whole."""
    if fs is not None and not isinstance(fs, LocalFileSystem):
        IN_PLACE(path, data, dumper, fs=fs, **more)
        return
    with whole_file(Path(path)) as file:
        dumper(data, file, **more)


def main() -> int:
    """Mend what a killed DVC left, then do as `dvc` does. Returns its exit status; 2 if only the user can mend it."""
    _common._dump_data = _yaml._dump_data = whole
    try:
        with suppress(DvcException), project():  # what it makes of a wrong dvc.yaml DVC says itself
            pass
    except InputError as error:
        print(f"jokbo: {error}", file=sys.stderr)
        return 2
    return command_line(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
