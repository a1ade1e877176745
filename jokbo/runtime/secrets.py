"""Hides passwords and signatures in whatever is shown or stored: error lines, logs, cards, MLflow."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

HIDDEN = "***"
# user:password@ (an unescaped / or @ in the password included; host:port/ is no password), or token@
_USER = re.compile(r"(?<=://)(?:[^\s/:@]*:(?!\d+(?:/|$))(?:(?!://)[^\s\"<>])*|[^\s/@\"<>]+)@")
# query and fragment: up to a blank, and not the quote and the stops of the sentence before it
_QUERY = re.compile(r"(?<=://)([^\s?#\"<>]*)([?#][^\s\"<>]*?)(?='?[,;:.)\]]*(?:[\s\"<>]|$))")
_PART = re.compile(r"([?&;#])([^&;#]*)")
_BARE = re.compile(r"[\w%+~-]{8,}")  # a value without a name; `?.jsonl` is part of a glob
_WHOLE = re.compile(r"[\w+.:-]+://")
_PORT = re.compile(r"[^:]*:\d+")


def hidden(text: str) -> str:
    """Return the text with what may be secret in its URLs as ***: user and password, and every value of a query."""
    text = _USER.sub(f"{HIDDEN}@", text)
    return _QUERY.sub(lambda found: found[1] + _PART.sub(_hide, found[2]), text)


def hidden_of(url: str, text: str) -> str:
    """Return `hidden`, and what is secret in `url` wherever the text repeats it, as drivers do in messages of their
    own.
    """
    user, _, query = _parts(url)
    users = [user, *(found.removesuffix("@") for found in _USER.findall(url))]
    secrets = [part for each in users for part in (each, each.partition(":")[2])]
    for found in _PART.finditer(query):
        text = text.replace(found[0], _hide(found))
        name, equals, value = found[2].partition("=")
        if equals:
            text = text.replace(found[2], f"{name}={HIDDEN}")
            secrets.append(value)
    for part in secrets:
        for spelling in (part, unquote(part)):
            text = text.replace(spelling, HIDDEN) if len(spelling) >= 6 else text  # `v=1` is not every 1
    return hidden(text)


def hidden_in(tree: Any) -> Any:
    """Return the same mappings and lists with `hidden` applied to every text in them, keys aside.

    A text that is a URL as a whole may hold blanks and quotes.
    """
    if isinstance(tree, str):
        return _hidden_url(tree) if _WHOLE.match(tree) else hidden(tree)
    if isinstance(tree, Mapping):
        return {key: hidden_in(value) for key, value in tree.items()}
    return [hidden_in(value) for value in tree] if isinstance(tree, list | tuple) else tree


def _hidden_url(url: str) -> str:
    user, location, query = _parts(url)
    scheme = url.partition("://")[0]
    # `hidden`, as another URL may stand in it: that of an archive that fsspec opens
    return hidden(f"{scheme}://{f'{HIDDEN}@' if user else ''}{location}{_PART.sub(_hide, query)}")


def _parts(url: str) -> tuple[str, str, str]:
    """Return the parts of a URL after the scheme: user and password; host and path; query and fragment, with their
    marks.
    """
    rest = url.partition("://")[2]
    cut = min((rest.find(mark) for mark in "?#" if mark in rest), default=len(rest))
    main, query = rest[:cut], rest[cut:]
    authority = main.partition("/")[0]
    if "@" not in authority and ":" in authority and not _PORT.fullmatch(authority):
        authority = main  # a password has an unescaped / in it
    user, at, _ = authority.rpartition("@")
    return user, main[len(user) + len(at) :], query


def _hide(found: re.Match[str]) -> str:
    """Return a part of a query or fragment, its mark before it, with its value hidden."""
    name, equals, _ = found[2].partition("=")
    if equals:
        return f"{found[1]}{name}={HIDDEN}"
    # without a name, in a query: a token, maybe; in a fragment a part of a page
    return f"{found[1]}{HIDDEN}" if found[1] != "#" and _BARE.fullmatch(name) else found[0]
