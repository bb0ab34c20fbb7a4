"""What a browser or a program sees of a node: `/status`, one HTML file, and `/status.json`."""

import base64
import hashlib
import re
from collections.abc import Callable
from functools import partial
from importlib import resources
from types import MappingProxyType
from typing import Final

from gitaly.observe.serving import Answer, Pages
from gitaly.observe.snapshot import Snapshot, to_json

STATUS_PATH: Final = "/status"
JSON_PATH: Final = "/status.json"
INLINE: Final = re.compile(r"<(script|style)>(.*?)</\1>", re.DOTALL)


def json_page(snapshot: Callable[[], Snapshot]) -> Pages:
    """The snapshot as JSON, taken when it is asked for."""

    def page() -> Answer:
        return Answer(kind="application/json", body=to_json(snapshot()))

    return {JSON_PATH: page}


def status_pages(snapshot: Callable[[], Snapshot]) -> Pages:
    """The page, and the JSON that it shows."""
    text = resources.files("gitaly.observe").joinpath("status.html").read_text("utf-8")
    answer = Answer(
        kind="text/html; charset=utf-8",
        body=text.encode(),
        headers=MappingProxyType(
            {
                "Content-Security-Policy": content_policy(text),
                "Referrer-Policy": "no-referrer",
                "X-Frame-Options": "DENY",
            }
        ),
    )
    return {STATUS_PATH: partial(_same, answer), **json_page(snapshot)}


def content_policy(html: str) -> str:
    """Nothing runs but what stands in this file, and nothing is asked but this server: should a
    name ever become markup, it would do nothing."""
    hashes: dict[str, list[str]] = {"script": [], "style": []}
    for kind, inline in INLINE.findall(html):
        digest = base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()
        hashes[kind].append(f"'sha256-{digest}'")
    return "; ".join(
        [
            "default-src 'none'",
            f"script-src {' '.join(hashes['script'])}",
            f"style-src {' '.join(hashes['style'])}",
            "connect-src 'self'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        ]
    )


def _same(answer: Answer) -> Answer:
    return answer
