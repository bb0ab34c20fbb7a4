"""Where the standard streams of a child lead: our end and the child's end of each."""

import os
from enum import Enum
from typing import Final, Self

from gitaly.git.pipes import PipeReader, PipeWriter


class Stream(Enum):
    """Targets that are not a descriptor of the caller."""

    DEVNULL = "devnull"
    PIPE = "pipe"
    STDOUT = "stdout"  # for stderr only: where stdout leads


DEVNULL: Final = Stream.DEVNULL
PIPE: Final = Stream.PIPE
STDOUT: Final = Stream.STDOUT
Target = Stream | int


class ChildEnds:
    """The descriptors of one child. Use it in a `with`, in which the child is born.

    At its end the child's are closed on our side; ours live as long as the child, if there is one.
    stderr None: a pipe whose reading end is `error_text`.
    """

    def __init__(self, stdin: Target, stdout: Target, stderr: Target | None) -> None:
        self._childs: list[int] = []  # to be closed here once the child has its own copies
        self.stdin: PipeWriter | None = None
        self.stdout: PipeReader | None = None
        self.stderr: PipeReader | None = None
        self.error_text: int | None = None
        try:
            self.child_stdin = self._stdin(stdin)
            self.child_stdout, self.stdout = self._output(stdout)
            if stderr is None:
                self.error_text, self.child_stderr = os.pipe()
                self._childs.append(self.child_stderr)
                os.set_blocking(self.error_text, False)
            elif stderr is STDOUT:
                self.child_stderr = self.child_stdout
            else:
                self.child_stderr, self.stderr = self._output(stderr)
        except BaseException:
            self._close(is_born=False)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._close(is_born=kind is None)

    def _stdin(self, target: Target) -> int:
        if target is not PIPE:
            return self._given(target, os.O_RDONLY)
        reading, writing = os.pipe()
        self._childs.append(reading)
        self.stdin = PipeWriter(writing)
        return reading

    def _output(self, target: Target) -> tuple[int, PipeReader | None]:
        if target is not PIPE:
            return self._given(target, os.O_WRONLY), None
        reading, writing = os.pipe()
        self._childs.append(writing)
        return writing, PipeReader(reading)

    def _given(self, target: Target, mode: int) -> int:
        if isinstance(target, int):
            return target
        fd = os.open(os.devnull, mode)
        self._childs.append(fd)
        return fd

    def _close(self, *, is_born: bool) -> None:
        while self._childs:
            os.close(self._childs.pop())
        if is_born:
            return
        for end in (self.stdin, self.stdout, self.stderr):
            if end is not None:
                end.close()
        if self.error_text is not None:
            os.close(self.error_text)
            self.error_text = None
