"""What kind of file is this? Linguist's rules, as go-enry 2.9 applies them."""

from gitaly.linguist.generated import is_generated

__all__ = ["is_generated"]
