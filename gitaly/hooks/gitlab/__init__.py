"""GitLab's internal API: what it is asked about a push, and what its answers mean."""

from gitaly.hooks.gitlab.client import (
    Access,
    ApiError,
    CheckInfo,
    GitLab,
    GitLabMetrics,
    Message,
    Ping,
    RateLimited,
)
from gitaly.hooks.gitlab.endpoint import BadUrl, Endpoint, api_endpoint, url_endpoint
from gitaly.hooks.gitlab.http_client import HttpClient, Unreachable
from gitaly.hooks.gitlab.http_wire import ProtocolError, Request, Response
from gitaly.hooks.gitlab.requests import Caller

__all__ = [
    "Access",
    "ApiError",
    "BadUrl",
    "Caller",
    "CheckInfo",
    "Endpoint",
    "GitLab",
    "GitLabMetrics",
    "HttpClient",
    "Message",
    "Ping",
    "ProtocolError",
    "RateLimited",
    "Request",
    "Response",
    "Unreachable",
    "api_endpoint",
    "url_endpoint",
]
