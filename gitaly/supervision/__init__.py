"""The node and whoever looks after its process: systemd, a wrapper, its predecessor."""
