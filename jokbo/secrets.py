"""Hides passwords and signatures in whatever is shown or stored: error lines, logs, cards, MLflow."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

HIDDEN = "***"
# user:password@ (an unescaped / or @ in the password included; host:port/ is no password), or token@
_USER = re.compile(r"(?<=://)(?:[^\s/:@]*:(?!\d+(?:/|$))[^\s\"'<>]*|[^\s/@\"'<>]+)@")
_QUERY = re.compile(r"(://[^\s?#\"'<>]*\?)([^\s#\"'<>]+)")
_VALUE = re.compile(r"=[^&;]*")


def hidden(text: str) -> str:
    """The text with what may be secret in its URLs as ***: user and password, and every value of a query."""
    text = _USER.sub(f"{HIDDEN}@", text)
    return _QUERY.sub(lambda found: found[1] + _VALUE.sub(f"={HIDDEN}", found[2]), text)


def hidden_of(url: str, text: str) -> str:
    """`hidden`, and what is secret in `url` wherever the text repeats it, as drivers do in messages of their own."""
    parts = [part for user in _USER.findall(url) for part in (user[:-1], user[:-1].partition(":")[2])]
    for _, query in _QUERY.findall(url):
        for pair in re.split("[&;]", query):
            text = text.replace(pair, _VALUE.sub(f"={HIDDEN}", pair))
            parts.append(pair.partition("=")[2])
    for part in parts:
        for spelling in (part, unquote(part)):
            text = text.replace(spelling, HIDDEN) if len(spelling) >= 6 else text  # `v=1` is not every 1
    return hidden(text)


def hidden_in(tree: Any) -> Any:
    """The same mappings and lists with `hidden` applied to every text in them, keys aside."""
    if isinstance(tree, str):
        return hidden(tree)
    if isinstance(tree, Mapping):
        return {key: hidden_in(value) for key, value in tree.items()}
    return [hidden_in(value) for value in tree] if isinstance(tree, list | tuple) else tree
