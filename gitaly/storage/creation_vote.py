"""What the nodes of a cluster compare when each of them has made a new repository.

Hashed are the listing of its configuration and of its references, byte for byte as the newest git
prints them. Objects are not: references stand for them.
"""

from collections.abc import AsyncIterator
from hashlib import sha1
from typing import Final

from gitaly.errors import prefixed
from gitaly.git import Git, GitFailed, RepositoryPaths

CONFIG_LIST: Final = (2, 46)  # git config list
ROOT_REFS_OPTION: Final = (2, 45)  # for-each-ref takes --include-root-refs
_FORMAT: Final = "--format=%(refname) %(objectname) %(symref)"


async def creation_digest(git: Git, repository: RepositoryPaths) -> bytes:
    """20 bytes. Raises Internal."""
    digest = sha1(usedforsecurity=False)
    with prefixed("computing vote"):
        async for data in _voted(git, repository):
            digest.update(data)
    return digest.digest()


async def _voted(git: Git, repository: RepositoryPaths) -> AsyncIterator[bytes]:
    yield await _config(git, repository)
    flags = [_FORMAT]
    if git.binary.version >= ROOT_REFS_OPTION:
        flags.append("--include-root-refs")
    else:
        yield await _head(git, repository)
    async with git.run("for-each-ref", repository=repository, flags=flags) as child:
        assert child.stdout is not None
        while piece := await child.stdout.read():
            yield piece
        how = await child.wait()
        if not how:
            raise GitFailed(how, child.error_text)


async def _config(git: Git, repository: RepositoryPaths) -> bytes:
    path = f"{repository.path}/config"
    if git.binary.version >= CONFIG_LIST:
        done = await git.output("config", action="list", flags=[("-f", path)])
    else:
        done = await git.output("config", flags=["--list", ("-f", path)])
    return done.checked()


async def _head(git: Git, repository: RepositoryPaths) -> bytes:
    """The line of HEAD, for a git that does not list it; empty if HEAD leads nowhere."""
    found = await git.output(
        "rev-parse", repository=repository, flags=["--verify", "--quiet"], args=["HEAD"]
    )
    if not found.exit:
        return b""
    named = await git.output(
        "rev-parse", repository=repository, flags=["--symbolic-full-name"], args=["HEAD"]
    )
    name = named.checked().strip()
    if name == b"HEAD":  # detached
        name = b""
    return b"HEAD " + found.stdout.strip() + b" " + name + b"\n"
