"""What the stages are made of. Importing it keeps the libraries below quiet; what the user has set stays."""

import logging
import os

for _name, _value in {
    "DO_NOT_TRACK": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "GIT_PYTHON_REFRESH": "quiet",
    "TORCH_CPP_LOG_LEVEL": "ERROR",
}.items():
    os.environ.setdefault(_name, _value)

# servers of this machine (Prefect's, MLflow's) are not reached through a company's proxy
_direct = [os.environ.get("no_proxy", ""), os.environ.get("NO_PROXY", ""), "127.0.0.1,localhost"]
_hosts = [host.strip() for host in ",".join(_direct).split(",") if host.strip()]
os.environ["no_proxy"] = os.environ["NO_PROXY"] = ",".join(dict.fromkeys(_hosts))

# it sets its own level when it is imported, to warn of there being no GPU
logging.getLogger("DeepSpeed").addFilter(lambda record: record.levelno >= logging.ERROR)
