"""In the place of jokbo.runtime.outbox: not there."""
