"""Another configuration for a node at work: all of it that can be had, or nothing."""

from gitaly.reload.reloader import Outcome, Read, Reloader
from gitaly.reload.taker import Simple, Step, Taker

__all__ = ["Outcome", "Read", "Reloader", "Simple", "Step", "Taker"]
