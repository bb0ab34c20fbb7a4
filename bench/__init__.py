"""Repeatable measurements, each beside a limit that is taken in the same run."""
