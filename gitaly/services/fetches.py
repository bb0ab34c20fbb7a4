"""What SSH and HTTP fetches have in common on the gRPC side: options, statistics, metrics."""

import re
from collections.abc import Sequence
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram

from gitaly._pb.packfile_pb2 import PackfileNegotiationStatistics
from gitaly.errors import Internal, InvalidRequest, NodeError
from gitaly.git import checked_options, go_quoted
from gitaly.git.upload_pack import Fetch
from gitaly.observe.log import Logger
from gitaly.rpc import Call
from gitaly.transport.negotiation import Negotiation

DEEPEN_BUCKETS: Final = (1, 2, 5, 10, 20, 9505.97, 4518177.02, 2147483646, 2147483647)
PROTOCOLS: Final = {"": "v0", "version=1": "v1", "version=2": "v2"}
CONFIG_KEY: Final = re.compile(r"[0-9A-Za-z]+(\.[*-/_:@a-zA-Z0-9]+)+")
BUNDLE_URI_OFF: Final = ("uploadpack.advertiseBundleURIs", "false")


def config_options(
    given: Sequence[str],
    words: str,
    *,
    no_value: type[NodeError] = Internal,
    bad_key: type[NodeError] = Internal,
) -> list[tuple[str, str]]:
    """Options of a request as pairs.

    A bad one is Internal with most calls of the reference, whose `words` stand before what is
    wrong with a key: it finds that only when it starts git.
    """
    try:
        pairs = checked_options(given)
    except InvalidRequest as error:
        raise no_value(error.message) from error
    for pair in pairs:
        problem = _problem_of(*pair)
        if problem:
            raise bad_key(f"{words}: {problem}")
    return pairs


def _problem_of(key: str, value: str) -> str:
    """Nothing for a good pair. Source: Gitaly, internal/gitaly/config/config.go (GitConfig)."""
    quoted = go_quoted(key)
    if not key:
        problem = "not set"
    elif "." not in key:
        problem = f"key {quoted} must contain at least one section"
    elif key.startswith(".") or key.endswith("."):
        problem = f"key {quoted} must not start or end with a dot"
    elif CONFIG_KEY.fullmatch(key) is None:
        problem = f"key {quoted} failed regexp validation"
    else:
        argument = go_quoted(f"{key}={value}")
        return f"detected null byte in command argument {argument}" if "\0" in value else ""
    return f"invalid configuration key {quoted}: key: {problem}"


class GitProtocol:
    """Which version of git's protocol a client may speak, and how many ask for which."""

    def __init__(self, registry: CollectorRegistry, logger: Logger) -> None:
        self._logger = logger
        self._requests = Counter(
            "gitaly_git_protocol_requests_total",
            "Counter of Git protocol requests",
            ["grpc_service", "grpc_method", "git_protocol"],
            registry=registry,
        )

    def environment(self, asked: str, call: Call) -> dict[str, str]:
        """GIT_PROTOCOL for git; nothing for version 0 and for what does not exist."""
        label = PROTOCOLS.get(asked, "invalid")
        self._requests.labels(call.method.service, call.method.name, label).inc()
        if label == "invalid":
            self._logger.warning(
                "invalid git protocol requested",
                git_protocol=asked[:100],
                correlation_id=call.correlation_id,
            )
        return {"GIT_PROTOCOL": asked} if label in ("v1", "v2") else {}


class NegotiationMetrics:
    """What clients ask upload-pack for; one family for each transport ("ssh", "smarthttp")."""

    def __init__(self, registry: CollectorRegistry, transport: str) -> None:
        self._requests = Counter(
            f"gitaly_{transport}_packfile_negotiation_requests_total",
            "Total number of features used for packfile negotiations",
            ["git_negotiation_feature"],
            registry=registry,
        )
        self._deepen = Histogram(
            f"gitaly_{transport}_packfile_negotiation_deepen",
            "Depth that shallow fetches ask for",
            buckets=DEEPEN_BUCKETS,
            registry=registry,
        )

    def observe(self, said: Negotiation) -> None:
        """Count one fetch."""
        features = ["total"]
        features += [said.command] if said.command in KNOWN_COMMANDS else []
        features += ["deepen"] if said.deepen else []
        features += ["filter"] if said.filter else []
        features += ["have"] if said.haves else []
        for feature in features:
            self._requests.labels(feature).inc()
        depth = said.deepen.removeprefix("deepen ")
        if depth.isascii() and depth.isdigit():
            self._deepen.observe(int(depth))


KNOWN_COMMANDS: Final = frozenset({"ls-refs", "fetch", "object-info", "bundle-uri"})


def report(fetch: Fetch, call: Call, metrics: NegotiationMetrics, logger: Logger) -> None:
    """Leave what is known of a finished fetch in metrics and log."""
    details: dict[str, object] = {"response_bytes": fetch.response_bytes}
    if fetch.request_digest:
        details["request_sha"] = fetch.request_digest
    logger.info("request details", correlation_id=call.correlation_id, **details)
    said = fetch.negotiation
    if not fetch.is_parsed:
        return
    metrics.observe(said)
    fields = {
        "negotiation.command": said.command,
        "negotiation.user_agent": said.user_agent,
        "negotiation.deepen": said.deepen,
        "negotiation.filter": said.filter,
        "negotiation.haves": said.haves,
        "negotiation.wants": said.wants,
        "negotiation.shallows": said.shallows,
    }
    call.log_fields.update({key: value for key, value in fields.items() if value})


def statistics_of(said: Negotiation) -> PackfileNegotiationStatistics:
    """The message for the client."""
    return PackfileNegotiationStatistics(
        payload_size=said.payload_size,
        packets=said.packets,
        caps=said.caps,
        wants=said.wants,
        haves=said.haves,
        shallows=said.shallows,
        deepen=said.deepen,
        filter=said.filter,
    )
