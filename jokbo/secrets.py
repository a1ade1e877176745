"""Hides passwords and signatures in whatever is shown or stored: error lines, logs, cards, MLflow."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

HIDDEN = "***"
# user:password@ (an unescaped / or @ in the password included; host:port/ is no password), or token@
_USER = re.compile(r"(?<=://)(?:[^\s/:@]*:(?!\d+(?:/|$))[^\s\"<>]*|[^\s/@\"<>]+)@")
# up to a blank, and not the quote and the stops of the sentence before it
_QUERY = re.compile(r"(://[^\s?#\"<>]*[?#])([^\s\"<>]+?)(?='?[,;:.)\]]*(?:[\s\"<>]|$))")
_PAIR = re.compile(r"[^&;#]+")
_BARE = re.compile(r"[\w%+~-]{8,}")  # a value without a name; `?.jsonl` is part of a glob
_WHOLE = re.compile(r"[\w+.:-]+://")


def hidden(text: str) -> str:
    """The text with what may be secret in its URLs as ***: user and password, and every value of a query."""
    text = _USER.sub(f"{HIDDEN}@", text)
    return _QUERY.sub(lambda found: found[1] + _PAIR.sub(_hide, found[2]), text)


def hidden_of(url: str, text: str) -> str:
    """`hidden`, and what is secret in `url` wherever the text repeats it, as drivers do in messages of their own."""
    user, _, query = _parts(url)
    parts = [user, user.partition(":")[2]]
    for pair in _PAIR.findall(query):
        text = text.replace(pair, _hide(pair))
        parts.append(pair.partition("=")[2])
    for part in parts:
        for spelling in (part, unquote(part)):
            text = text.replace(spelling, HIDDEN) if len(spelling) >= 6 else text  # `v=1` is not every 1
    return hidden(text)


def hidden_in(tree: Any) -> Any:
    """The same mappings and lists with `hidden` applied to every text in them, keys aside. A text that is a URL as a
    whole may hold blanks and quotes."""
    if isinstance(tree, str):
        return _hidden_url(tree) if _WHOLE.match(tree) else hidden(tree)
    if isinstance(tree, Mapping):
        return {key: hidden_in(value) for key, value in tree.items()}
    return [hidden_in(value) for value in tree] if isinstance(tree, list | tuple) else tree


def _hidden_url(url: str) -> str:
    user, place, query = _parts(url)
    scheme = url.partition("://")[0]
    return f"{scheme}://{f'{HIDDEN}@' if user else ''}{place}{_PAIR.sub(_hide, query)}"


def _parts(url: str) -> tuple[str, str, str]:
    """Of a URL, what follows the scheme: user and password; host and path; query and fragment, with their marks."""
    rest = url.partition("://")[2]
    cut = min((rest.find(mark) for mark in "?#" if mark in rest), default=len(rest))
    main, query = rest[:cut], rest[cut:]
    authority = main.partition("/")[0]
    # an @ further on is in the path, or a password has an unescaped / in it
    within = "@" in authority or (":" in authority and "@" in main)
    user, _, place = (authority if "@" in authority else main).rpartition("@") if within else ("", "", main)
    if "@" in authority:
        place = main[len(user) + 1 :]
    return user, place, query


def _hide(pair: re.Match[str] | str) -> str:
    """A part of a query with its value hidden."""
    text = pair if isinstance(pair, str) else pair[0]
    mark = "?" if text.startswith("?") else ""
    name, equals, _ = text.removeprefix(mark).partition("=")
    if equals:
        return f"{mark}{name}={HIDDEN}"
    return f"{mark}{HIDDEN}" if _BARE.fullmatch(name) else text
