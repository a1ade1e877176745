"""What the stages are made of. Importing it keeps the libraries below quiet, and gives a user without a name or a home
(`docker run -u 12345`) both, which they ask for; what the user has set stays."""

import logging
import os
import pwd
import sys
from pathlib import Path

for _variable, _value in {
    "DO_NOT_TRACK": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # with the password in it
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",  # what a server does not take is kept and sent later: no use in waiting
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",  # seconds
    "GIT_PYTHON_REFRESH": "quiet",
    "TORCH_CPP_LOG_LEVEL": "ERROR",
}.items():
    os.environ.setdefault(_variable, _value)

# servers of this machine (Prefect's, MLflow's) are not reached through a company's proxy
_direct = [os.environ.get("no_proxy", ""), os.environ.get("NO_PROXY", ""), "127.0.0.1,localhost"]
_hosts = [host.strip() for host in ",".join(_direct).split(",") if host.strip()]
os.environ["no_proxy"] = os.environ["NO_PROXY"] = ",".join(dict.fromkeys(_hosts))

# it sets its own level when it is imported, to warn of there being no GPU
logging.getLogger("DeepSpeed").addFilter(lambda record: record.levelno >= logging.ERROR)
# peft imports it, and it asks for a package by which it would fetch code from the hub
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)


def _name() -> None:
    """Name a user whom the system does not know: getpass.getuser reads LOGNAME first."""
    try:
        pwd.getpwuid(os.getuid())
    except KeyError:
        os.environ.setdefault("LOGNAME", f"uid{os.getuid()}")


def _home() -> None:
    """Put the home into this folder's .jokbo where there is none that can be written to, and says so."""
    try:
        found = Path.home()
        if found.is_dir() and os.access(found, os.W_OK):
            return
        why = f"{found} can't be written to"
    except RuntimeError:
        why = "there is none"
    home = Path(".jokbo/home").resolve()
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError:
        return  # nothing can be written here either, which whoever writes first says
    os.environ["HOME"] = str(home)
    print(f"jokbo: HOME is now {home}: {why}", file=sys.stderr)


_name()
_home()
