"""A node without a GitLab: a policy of its own, and somebody who may be asked by HTTP."""

from gitaly.hooks.standalone.authority import StandaloneAuthority
from gitaly.hooks.standalone.policy import Policy, Rule
from gitaly.hooks.standalone.webhook import Webhook

__all__ = ["Policy", "Rule", "StandaloneAuthority", "Webhook"]
