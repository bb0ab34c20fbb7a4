"""Who may push: GitLab's internal API, custom hooks, a policy of the node's own, and votes."""
