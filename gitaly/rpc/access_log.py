"""The line that ends every call in the log, and who is calling as metrics and log call it.

Field names are Gitaly's. Source: internal/grpc/middleware/{loghandler,requestinfohandler}.
"""

import os
import re
import time
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

import grpc

from gitaly.errors import NodeError
from gitaly.observe.log import Logger
from gitaly.rpc.call import Call
from gitaly.rpc.contract import Method
from gitaly.rpc.status import CODE_NAMES

INFO: Final = frozenset(
    {
        grpc.StatusCode.OK,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.ALREADY_EXISTS,
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.UNAUTHENTICATED,
    }
)
WARNING: Final = frozenset(
    {
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
    }
)
ALLOW_PATTERN: Final = "GITALY_LOG_REQUEST_METHOD_ALLOW_PATTERN"
DENY_PATTERN: Final = "GITALY_LOG_REQUEST_METHOD_DENY_PATTERN"
QUIET_BY_DEFAULT: Final = "^/grpc.health.v1.Health/Check$"
UNKNOWN: Final = "unknown"


class WrongPattern(NodeError):
    """A variable that chooses what is logged is not a regular expression."""


def client_of(call: Call) -> Mapping[str, str]:
    """Who calls, as labels: client_name, call_site, auth_version, deadline_type."""
    metadata = call.metadata
    bearer = metadata.get("authorization", "").partition(" ")[2]
    deadline_type = metadata.get("deadline_type") or UNKNOWN
    return {
        "client_name": metadata.get("x-gitlab-client-name")
        or metadata.get("client_name")
        or UNKNOWN,
        "call_site": metadata.get("call_site") or UNKNOWN,
        "auth_version": "v2" if bearer.startswith("v2.") else UNKNOWN,
        "deadline_type": "none" if call.deadline is None else deadline_type,
    }


class AccessLog:
    """Writes one line for each finished call. Raises WrongPattern."""

    def __init__(self, logger: Logger, environment: Mapping[str, str] = os.environ) -> None:
        self._logger = logger
        self._allow = _pattern(environment, ALLOW_PATTERN, "")
        self._deny = _pattern(environment, DENY_PATTERN, QUIET_BY_DEFAULT)
        self._fixed: dict[Method, dict[str, object]] = {}
        self._covered: dict[Method, bool] = {}  # the patterns' answer for a method never changes

    def covers(self, method: Method) -> bool:
        """Whether calls of this method are logged; the operator chooses by patterns."""
        covered = self._covered.get(method)
        if covered is None:
            covered = self._covered[method] = self._matches(method)
        return covered

    def _matches(self, method: Method) -> bool:
        if self._allow is not None:
            return self._allow.search(method.path) is not None
        return self._deny is None or self._deny.search(method.path) is None

    def finished(self, call: Call, client: Mapping[str, str]) -> None:
        """Write the line that ends a call."""
        code = call.outcome.code
        fields = dict(self._fixed.get(call.method) or self._fix(call.method))
        fields.update(_timing(call))
        fields["grpc.code"] = CODE_NAMES[code]
        for key in ("client_name", "call_site", "auth_version"):
            if client[key] != UNKNOWN:
                fields[f"grpc.meta.{key}"] = client[key]
        if call.deadline is not None and client["deadline_type"] != UNKNOWN:
            fields["grpc.meta.deadline_type"] = client["deadline_type"]
        fields.update(_caller(call))
        fields.update(_target(call))
        fields.update(_commands(call))
        fields.update(call.account.fields)
        fields.update(call.log_fields)
        if code is not grpc.StatusCode.OK:
            fields["error"] = call.outcome.log_error or call.outcome.message
            if call.outcome.log_metadata:
                fields["error_metadata"] = dict(call.outcome.log_metadata)
        shape = "streaming" if call.method.kind != "unary" else "unary"
        message = f"finished {shape} call with code {CODE_NAMES[code]}"
        self._write(code, message, fields)

    def _write(self, code: grpc.StatusCode, message: str, fields: dict[str, object]) -> None:
        if code in INFO:
            self._logger.info(message, **fields)
        elif code in WARNING:
            self._logger.warning(message, **fields)
        else:
            self._logger.error(message, **fields)

    def _fix(self, method: Method) -> dict[str, object]:
        shape = "Unary" if method.kind == "unary" else "Stream"
        fixed: dict[str, object] = {
            "component": f"gitaly.{shape}ServerInterceptor",
            "system": "grpc",
            "span.kind": "server",
            "grpc.service": method.service,
            "grpc.method": method.name,
            "grpc.meta.method_type": method.kind,
            "grpc.request.fullMethod": method.path,
        }
        if method.operation != UNKNOWN:
            fixed["grpc.meta.method_operation"] = method.operation
            fixed["grpc.meta.method_scope"] = method.scope
        self._fixed[method] = fixed
        return fixed


def _pattern(environment: Mapping[str, str], name: str, default: str) -> re.Pattern[str] | None:
    text = environment.get(name, default)
    try:
        return re.compile(text) if text else None
    except re.error as error:
        raise WrongPattern(f'{name}: "{text}": {error}') from error


def _local_time(seconds: float) -> str:
    """A time of day as Go's logs have it: local, milliseconds, no zone."""
    return f"{_local_second(int(seconds))}.{int(seconds % 1 * 1000):03d}"


@lru_cache(maxsize=64)
def _local_second(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(second))


def _timing(call: Call) -> dict[str, object]:
    took = call.ended - call.started
    fields: dict[str, object] = {
        "grpc.start_time": _local_time(time.time() - took),
        "grpc.time_ms": round(took * 1000, 3),
        "grpc.request.payload_bytes": call.received_bytes,
        "grpc.response.payload_bytes": call.sent_bytes,
    }
    if call.deadline is not None:
        left = call.deadline - time.monotonic()
        fields["grpc.request.deadline"] = _local_time(time.time() + left)
    return fields


def _caller(call: Call) -> dict[str, object]:
    found = {key: call.single(key) for key in ("remote_ip", "user_id", "username")}
    fields: dict[str, object] = {key: value for key, value in found.items() if value}
    if call.correlation_id:
        fields["correlation_id"] = call.correlation_id
    flags = [
        key.removeprefix("gitaly-feature-").replace("-", "_")
        for key, value in call.metadata.items()
        if value == "true" and key.startswith("gitaly-feature-")
    ]
    if flags:
        fields["feature_flags"] = " ".join(sorted(flags))
    return fields


def _target(call: Call) -> dict[str, object]:
    if call.first_request is None:
        return {}
    repository = call.method.target_repository(call.first_request)
    if repository is not None:
        fields: dict[str, object] = {
            "grpc.request.repoStorage": repository.storage_name,
            "grpc.request.repoPath": repository.relative_path,
            "grpc.request.glRepository": repository.gl_repository,
            "grpc.request.glProjectPath": repository.gl_project_path,
        }
        if call.method.target[-1:] == ("repository",) and len(call.method.target) > 1:
            fields["grpc.request.pool.storage"] = repository.storage_name
            fields["grpc.request.pool.relativePath"] = repository.relative_path
            fields["grpc.request.pool.sourceProjectPath"] = repository.gl_project_path
        return fields
    storage = call.method.storage_name(call.first_request)
    return {} if storage is None else {"grpc.request.StorageName": storage}


def _commands(call: Call) -> dict[str, object]:
    account = call.account
    if not account.commands:
        return {}
    fields: dict[str, object] = {
        "command.count": account.commands,
        "command.system_time_ms": int(account.system_seconds * 1000),
        "command.user_time_ms": int(account.user_seconds * 1000),
        "command.cpu_time_ms": int((account.system_seconds + account.user_seconds) * 1000),
        "command.real_time_ms": int(account.real_seconds * 1000),
        "command.maxrssanon_bytes": account.maximum_rss_bytes,  # an upper bound: with file pages
        "command.spawn_token_fork_ms": int(account.spawn_seconds * 1000),
        "command.inblock": account.blocks_in,
        "command.oublock": account.blocks_out,
        "command.minflt": account.page_faults_minor,
        "command.majflt": account.page_faults_major,
    }
    if account.cgroup_path:
        fields["command.cgroup_path"] = account.cgroup_path
    return fields
