"""docs/rpcs.md, made from the wire contract and from what is built: `python -m tests.rpcs_page`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from gitaly import servicers
from gitaly.rpc import Method, node_services

PAGE: Final = Path(__file__).resolve().parent.parent / "docs/rpcs.md"
HEAD: Final = """\
# Every RPC

What a node serves of the wire contract 18.9, made from the contract and from the servicers of this
version; `python -m tests.rpcs_page` writes it anew. What is *not yet* answers `UNIMPLEMENTED`.
Accessors read; mutators and maintenance change a repository.
"""
# What the module that builds all servicers has imported for that.
BUILT: Final[list[Any]] = [x for x in vars(servicers).values() if hasattr(x, "SERVICE")]
KINDS: Final = {
    "unary": "",
    "server_stream": "answers in a stream",
    "client_stream": "requests in a stream",
    "bidi_stream": "streams both ways",
}


def is_built(method: Method) -> bool:
    """Whether a servicer answers it."""
    return any(
        method.service == servicer.SERVICE and hasattr(servicer, method.name) for servicer in BUILT
    )


def generated() -> str:
    """The whole text."""
    return "\n".join([HEAD, _total(), *_tables()])


def _total() -> str:
    methods = [method for found in node_services().values() for method in found]
    return f"{sum(map(is_built, methods))} of {len(methods)} are done.\n"


def _tables() -> Iterator[str]:
    for service, methods in sorted(node_services().items()):
        yield f"## {service.removeprefix('gitaly.')}\n"
        yield "| RPC | What it does to data | Shape | State |"
        yield "|---|---|---|---|"
        for method in sorted(methods, key=lambda one: one.name):
            operation = "" if method.operation == "unknown" else method.operation
            state = "done" if is_built(method) else "not yet"
            yield f"| {method.name} | {operation} | {KINDS[method.kind]} | {state} |"
        yield ""


if __name__ == "__main__":
    PAGE.write_text(generated())
