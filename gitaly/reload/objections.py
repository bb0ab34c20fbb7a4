"""Whether a configuration may take the place of the one in force."""

from collections.abc import Iterator

from gitaly.config import Config, Problem, problems, startup_objections
from gitaly.reload.changes import changed_keys


def objections(
    wanted: Config, running: Config, known: frozenset[Problem], keys: frozenset[str]
) -> Iterator[str]:
    """All that speaks against it. Looks at the file system.

    `known`: problems of the configuration in force when it came into force; whoever started the
    node with them may keep them. A table that nobody takes and that is the same as before is not
    judged: a storage whose disk is away must not keep an operator from rotating a token.
    """
    changed = {_table(key) for key in changed_keys(running, wanted)}
    taken = {_table(key) for key in keys}
    found = [
        str(problem)
        for problem in problems(wanted)
        if problem not in known
        and (not problem.key or problem.key[0] in changed or problem.key[0] in taken)
    ]
    yield from found
    anyway = set(startup_objections(running))
    for text in startup_objections(wanted):
        said = all(any(one.endswith(line) for one in found) for line in text.splitlines())
        if text not in anyway and not said:
            yield text


def _table(key: str) -> str:
    return key.replace("[", ".").partition(".")[0]
