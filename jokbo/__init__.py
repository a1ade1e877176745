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
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # with the password in it
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",  # what a server does not take is kept and sent later: no use in waiting
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",  # seconds
    "GIT_PYTHON_REFRESH": "quiet",
    "TORCH_CPP_LOG_LEVEL": "ERROR",
}.items():
    os.environ.setdefault(_name, _value)

# it sets its own level when it is imported, to warn of there being no GPU
logging.getLogger("DeepSpeed").addFilter(lambda record: record.levelno >= logging.ERROR)
