"""Personal data out of a text: e-mail addresses, telephone numbers and IP addresses are replaced by their kind."""

from __future__ import annotations

import ipaddress
import re
import sys
from collections.abc import Callable, Iterator, Sequence

import phonenumbers

from jokbo.data.prepare.cleaning import unescaped

REGIONS = ("US", "KR")  # whose numbers are known without a country code

_AT = (
    "@",
    "\uff20",
    "%40",
    "&",
)  # every address has one of them: the sign, or its spelling in a URL or in HTML
_LATIN = r"A-Za-z0-9\u00c0-\u024f"
_EMAIL = re.compile(  # a run of such characters is tried once, from its start: linear in the text
    rf"(?<![{_LATIN}._%+-])[{_LATIN}._%+-]{{1,64}}(?:@|\uff20|%40|&(?:amp;)*(?:#0*64|#[xX]0*40|commat);)"
    rf"(?:[{_LATIN}-]{{1,63}}\.)+[A-Za-z]{{2,24}}(?![A-Za-z0-9])"
)
_DOTTED = re.compile(r"[0-9]\.[0-9]{1,3}\.[0-9]")  # quick to find; most texts hold none, and need no search
_IPV4 = re.compile(r"(?<![\w.])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?!\w|\.\w)")
_IPV6 = re.compile(r"(?<![\w:.])(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4}(?![\w:])")
_DIGITS = re.compile(r"\d(?:[^\w\n]{0,3}\d){8}")  # the shortest number with its area code has nine digits


def masked(text: str, kinds: Sequence[str]) -> tuple[str, dict[str, int]]:
    """Return the text with `<email>`, `<ip>`, `<phone>` for what is of these kinds, and how many there were of each.

    Only public IP addresses are masked, as in datatrove: 127.0.0.1 and 192.168.0.1 belong to nobody. Telephone numbers
    are those that libphonenumber finds valid, in the groups that people write, with a country code or in the form of
    the US or Korea. A firm's Korean number without an area code (1588-1234) stays, for two years look like it.
    """
    counts = {}
    # in this order, for the digits of an IP address can be a telephone number's
    for kind, find in _FINDERS.items():
        if kind in kinds:
            between, last = [], 0
            for start, end in find(text):
                if start >= last:
                    between.append(text[last:start])
                    last = end
            counts[kind] = len(between)
            text = f"<{kind}>".join([*between, text[last:]])
    return text, counts


def preview(text: str) -> str:
    """Return a text as reports may show it: personal data of every kind are masked, whatever the corpus keeps.

    Data spelled by HTML entities are masked too. What UTF-8 cannot hold is written as its number.
    """
    text = text.encode("utf-8", "backslashreplace").decode()
    read = unescaped(unescaped(text))
    spelled, counts = masked(read, tuple(_FINDERS))
    return spelled if read != text and sum(counts.values()) else masked(text, tuple(_FINDERS))[0]


Spans = Iterator[tuple[int, int]]


def _emails(text: str) -> Spans:
    if any(sign in text for sign in _AT):
        yield from (match.span() for match in _EMAIL.finditer(text))


def _ips(text: str) -> Spans:
    candidates = list(_IPV4.finditer(text)) if _DOTTED.search(text) else []
    if "::" in text or text.count(":") > 6:
        candidates += _IPV6.finditer(text)
    for match in sorted(candidates, key=re.Match.start):
        try:
            address = ipaddress.ip_address(match[0])
        except ValueError:
            continue
        if address.is_global and not address.is_reserved and not address.is_multicast:
            yield match.span()


def _phones(text: str) -> Spans:
    if not _DIGITS.search(text):
        return
    end = 0
    strict = phonenumbers.Leniency.STRICT_GROUPING
    found = (
        match
        for region in REGIONS
        for match in phonenumbers.PhoneNumberMatcher(text, region, leniency=strict, max_tries=sys.maxsize)
    )
    for match in sorted(found, key=lambda match: (match.start, match.end)):
        digits = sum(map(str.isdigit, match.raw_string))
        if match.start >= end and digits >= 9:
            yield match.start, match.end
            end = match.end


_FINDERS: dict[str, Callable[[str], Spans]] = {"email": _emails, "ip": _ips, "phone": _phones}
