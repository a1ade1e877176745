"""What a user did that the project cannot act on."""


class InputError(Exception):
    """Bad input. The message is one line: the file, key or row, what was found there, and what to do."""
