"""The program that this process runs, as it must be called to run once more."""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A command line and its environment."""

    arguments: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of_this_process(cls, environment: Mapping[str, str]) -> Self:
        """Found by its path: after an upgrade that is the new version.

        To be asked at the start, while a relative path still means the same.
        """
        path = os.path.abspath(sys.argv[0])
        if os.path.isfile(path) and os.access(path, os.X_OK):
            arguments = [path, *sys.argv[1:]]
        else:  # python -m, python -c
            arguments = [sys.executable, *sys.orig_argv[1:]]
        return cls(arguments=arguments, environment=dict(environment))

    def with_variables(self, variables: Mapping[str, str]) -> Self:
        """The same with more in its environment."""
        return replace(self, environment={**self.environment, **variables})

    def name_process(self) -> None:
        """Have ps and a wrapper see the program's name, not the interpreter's."""
        name = os.path.basename(self.arguments[0])
        with open("/proc/self/comm", "w") as file:
            file.write(name)
