"""Prefect: in what order stages run, and how often they are tried again. What the user has set stays."""

import os
import sys
from importlib.util import find_spec
from pathlib import Path

import jokbo  # keeps MLflow quiet too  # noqa: F401
from jokbo.runtime import interruption
from jokbo.runtime.files import refusal
from jokbo.runtime.secrets import hidden
from jokbo.runtime.text import printable


def _refused(error: BaseException) -> str | None:
    """Return one line where Prefect, as it is imported, refuses its settings, or the disk its files; else None."""
    if type(error).__name__ == "TOMLDecodeError":
        return f"Prefect's profiles.toml can't be read ({error}): mend it, or remove it"
    if not type(error).__module__.startswith("pydantic"):
        return refusal(error)
    faults = getattr(error, "errors", None)
    if faults is None:
        return f"Prefect's settings can't be read: {printable(str(error))}"
    first = faults()[0]
    where = ".".join(map(str, first["loc"])) or getattr(error, "title", "")
    return f"Prefect's settings: {where}: {first['msg']}: set right {_given or 'its profiles.toml'}"


_given = ", ".join(sorted(name for name in os.environ if name.startswith("PREFECT_")))
interruption.without_traceback(_refused)

for _name, _value in {
    "DVC_NO_ANALYTICS": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",  # so that a run whose machine died can be told from a slow one
}.items():
    os.environ.setdefault(_name, _value)

if "PREFECT_API_URL" not in os.environ and not (Path.home() / ".prefect" / "profiles.toml").exists():
    _home = Path(os.environ.setdefault("PREFECT_HOME", str(Path(".jokbo/prefect").resolve())))
    _home.mkdir(parents=True, exist_ok=True)  # Prefect warns where it has to make the folders above, too

# without this package Prefect's client does not even start where such a proxy is named
if find_spec("socksio") is None:
    for _name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        if os.environ[_name].startswith("socks"):
            _proxy = os.environ.pop(_name)
            print(
                f"jokbo: {_name}={hidden(_proxy)} is not used: `pip install socksio` for such a proxy",
                file=sys.stderr,
            )
