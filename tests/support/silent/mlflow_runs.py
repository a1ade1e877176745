"""In the place of jokbo.runtime.mlflow_runs: not there."""
