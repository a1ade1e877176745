"""In the place of jokbo.runtime.owner: not there."""
