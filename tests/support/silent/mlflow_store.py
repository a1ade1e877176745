"""In the place of jokbo.runtime.mlflow_store: not there."""
