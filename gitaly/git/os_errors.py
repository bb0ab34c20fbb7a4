"""Errors of the operating system in the words of Go, and without a path of the server."""


def reason(error: OSError) -> str:
    """ "no such file or directory": as Gitaly's texts end, where clients may look for it."""
    text = error.strerror or type(error).__name__
    return text[:1].lower() + text[1:]
