"""The stages of dvc.yaml, a file each, and what all of them share."""

import os
from contextlib import suppress
from pathlib import Path

# of code and parameters, when they were last changed as this process began, before any other file of ours is read;
# by path from the current folder, as dvc.yaml has them
CHANGED: dict[str, int] = {}
_home = Path(os.path.relpath(Path(__file__).parents[1]))  # of the code that runs
_code = (*Path().glob("*.py"), *(_home / "tasks").rglob("*.py"), *(_home / "jokbo").rglob("*.py"))
for _path in (Path("params.yaml"), *_code):
    with suppress(OSError):
        CHANGED[_path.as_posix()] = _path.stat().st_ctime_ns

from jokbo.runtime import interruption  # noqa: E402

interruption.without_traceback()
