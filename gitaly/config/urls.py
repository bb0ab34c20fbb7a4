"""Whether a text is a URL, and if not, what the original's parser says about it.

Source: Go, package net/url, Parse. It is both milder and stricter than the RFC: nearly everything
is a path, but a host may not hold escapes, which rules out "http+unix://%2Frun%2Fsocket".
"""

import re
from typing import Final

from gitaly.config.go_text import quote

CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
BAD_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2}).{0,2}", re.DOTALL)
PORT: Final = re.compile(r"(:[0-9]*)?")
HOST_CHARACTERS: Final = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:\[\]<>\"%-]|[^\x00-\x7f]")
USER: Final = re.compile(r"[A-Za-z0-9._:~!$&'()*+,;=%@-]*")


def url_problem(text: str) -> str | None:
    """The error text for a bad URL, None for a good one; an empty text is a good one."""
    problem = _problem(text)
    return f"parse {quote(text)}: {problem}" if problem else None


def _problem(text: str) -> str | None:
    rest, _, fragment = text.partition("#")
    if CONTROL.search(rest):
        return "net/url: invalid control character in URL"
    return _problem_before_fragment(rest) or _bad_escape(fragment)


def _problem_before_fragment(text: str) -> str | None:
    if text.startswith(":"):
        return "missing protocol scheme"
    scheme = SCHEME.match(text)
    rest = (text[scheme.end() :] if scheme else text).partition("?")[0]
    if scheme and not rest.startswith("/"):
        return None  # opaque, as in mailto:somebody
    if not scheme and ":" in rest.partition("/")[0]:
        return "first path segment in URL cannot contain colon"
    if rest.startswith("//") and (scheme or not rest.startswith("///")):
        authority, slash, path = rest[2:].partition("/")
        return _authority_problem(authority) or _bad_escape(slash + path)
    return _bad_escape(rest)


def _authority_problem(authority: str) -> str | None:
    user, at, host = authority.rpartition("@")
    if problem := _host_problem(host):
        return problem
    if at and not USER.fullmatch(user):
        return "net/url: invalid userinfo"
    return _bad_escape(user)


def _host_problem(host: str) -> str | None:
    if host.startswith("["):
        address, bracket, port = host.rpartition("]")
        if not bracket:
            return "missing ']' in host"
        if not PORT.fullmatch(port):
            return f"invalid port {quote(port)} after host"
        host, percent, zone = address.partition("%25")
        if percent and (problem := _bad_escape(zone)):
            return problem
    elif ":" in host:
        port = host[host.rindex(":") :]
        if not PORT.fullmatch(port):
            return f"invalid port {quote(port)} after host"
    return _bad_host_character(host)


def _bad_host_character(host: str) -> str | None:
    for at, character in enumerate(host):
        if character == "%":
            return _host_escape(host[at : at + 3])
        if not HOST_CHARACTERS.fullmatch(character):
            return f"invalid character {quote(character)} in host name"
    return None


def _host_escape(escape: str) -> str | None:
    """A host may escape only what is not ASCII."""
    if re.fullmatch(r"%[89A-Fa-f][0-9A-Fa-f]", escape):
        return None
    return f"invalid URL escape {quote(escape)}"


def _bad_escape(text: str) -> str | None:
    found = BAD_ESCAPE.search(text)
    return f"invalid URL escape {quote(found[0])}" if found else None
