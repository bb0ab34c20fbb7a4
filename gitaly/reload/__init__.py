"""Another configuration for a node at work: all of it that can be had, or nothing."""

from gitaly.reload.reloader import Read, Reloader
from gitaly.reload.taker import Simple, Step, Taker

__all__ = ["Read", "Reloader", "Simple", "Step", "Taker"]
