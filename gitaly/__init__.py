"""A Git storage node that speaks Gitaly's gRPC protocol."""
