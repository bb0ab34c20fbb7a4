"""The snapshot as an interface between processes, and what it says of a node's health."""

from dataclasses import replace

import pytest

from gitaly.observe.health import judged
from gitaly.observe.snapshot import (
    AccessState,
    CallState,
    CertificateState,
    GroupsState,
    GroupState,
    KeyState,
    NodeState,
    QueueState,
    Refusal,
    ReloadState,
    Snapshot,
    StorageState,
    bounded,
    from_json,
    to_json,
)

WELL = Snapshot(
    taken=1000.0,
    node=NodeState(descriptors=10, descriptors_limit=100, loop_lag_seconds=0.001),
    storages=(StorageState(name="default", path="/data"),),
)


def test_what_is_written_is_read_again() -> None:
    snapshot = replace(WELL, calls=(CallState(rpc="RefService/RefExists", seconds=1.5),))
    assert from_json(to_json(snapshot)) == snapshot


def test_a_process_of_another_version_is_understood_as_far_as_it_goes() -> None:
    found = from_json(b'{"node": {"pid": 7, "colour": "blue"}, "weather": []}')
    assert found == Snapshot(node=NodeState(pid=7))


@pytest.mark.parametrize("data", [b"", b"[]", b'{"calls": 7}', b"\xff", b"<html>"])
def test_what_is_no_snapshot_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        from_json(data)


def test_a_name_of_a_client_is_cut_and_can_be_written() -> None:
    name = bounded("\ud800" + "x" * 1000)
    assert (len(name), name[:2], name[-1]) == (300, "?x", "…")
    assert from_json(to_json(Snapshot(calls=(CallState(client=name),)))).calls[0].client == name


def test_a_node_on_which_all_is_well_is_healthy() -> None:
    found = judged(WELL)
    assert (found.is_healthy, found.wrong, found.remarks) == (True, (), ())


def wrong(**changed: object) -> tuple[str, ...]:
    found = judged(replace(WELL, **changed))  # type: ignore[arg-type]  # any field of it
    assert found.is_healthy is False
    return found.wrong


def node(**changed: object) -> NodeState:
    return replace(WELL.node, **changed)  # type: ignore[arg-type]  # any field of it


def test_a_node_that_drains_is_not_healthy() -> None:
    assert wrong(node=node(state="draining")) == ("the node is draining: it takes no new calls",)


def test_a_loop_that_stands_still_is_wrong_and_said_where() -> None:
    stuck = node(
        loop_lag_seconds=None, loop_patience_seconds=1.0, stuck_at=("gitaly/a.py:1 b", "c.py:2 d")
    )
    assert wrong(node=stuck) == ("the event loop has not moved for 1 seconds, it is at c.py:2 d",)


def test_a_storage_with_a_problem_is_wrong() -> None:
    gone = StorageState(name="a", path="/data", state="gone", problem="the directory is not there")
    assert wrong(storages=(gone,)) == ('storage "a" (/data): the directory is not there',)


def test_descriptors_that_run_out_are_wrong() -> None:
    assert wrong(node=node(descriptors=95)) == (
        "95 of 100 file descriptors are in use: soon no connection can be accepted",
    )


def remarks(**changed: object) -> tuple[str, ...]:
    found = judged(replace(WELL, **changed))  # type: ignore[arg-type]  # any field of it
    assert found.is_healthy is True
    return found.remarks


def test_a_slow_loop_is_remarked() -> None:
    assert remarks(node=node(loop_lag_seconds=0.5)) == (
        "the event loop is slow: it answered after 0.50 seconds",
    )


def test_a_full_queue_is_remarked_unless_it_is_a_shadow() -> None:
    full = QueueState(
        name="packObjects", places=3, busiest=(KeyState(key="10.0.0.1", running=2, waiting=3),)
    )
    assert remarks(queues=(full,)) == ('limit packObjects: no place left to wait for "10.0.0.1"',)
    assert remarks(queues=(replace(full, is_shadow=True),)) == ()


def test_memory_of_all_git_that_runs_out_is_remarked() -> None:
    parent = GroupState(anonymous_bytes=97, memory_limit_bytes=100)
    assert remarks(cgroups=GroupsState(version=2, parent=parent)) == (
        "git processes hold 97% of the memory that they may use together",
    )


def test_refusals_of_the_last_minutes_are_counted_by_kind() -> None:
    refusals = (
        Refusal(kind="auth", last=999.0, count=7),
        Refusal(kind="auth", last=900.0, count=3),
        Refusal(kind="memory", last=950.0),
        Refusal(kind="error", last=600.0, count=100),
    )
    assert remarks(refusals=refusals) == (
        "refused or failed, the last within 5 minutes: authentication 10, memory limits 1",
    )


def test_a_reload_that_was_refused_is_wrong() -> None:
    reload = ReloadState(at=900.0, is_accepted=False, text="auth.token: is empty")
    assert wrong(reload=reload) == ("the configuration was not reloaded: auth.token: is empty",)


def test_keys_that_wait_for_a_restart_are_remarked() -> None:
    reload = ReloadState(at=900.0, text="nothing", waiting=("listen_addr", "storage[]"))
    assert remarks(reload=reload) == (
        "these keys of the file need a restart: listen_addr, storage[]",
    )


def test_authentication_that_lets_everybody_in_is_remarked() -> None:
    assert remarks(access=AccessState(mode="transitioning")) == (
        "calls without a good token are let in: auth.transitioning is set",
    )


CERTIFICATE = CertificateState(address=":9999", name="node", expires=1000.0 + 2.5 * 86400)


def test_a_certificate_is_remarked_when_it_expires_soon_and_wrong_when_it_expires_now() -> None:
    said = ("the TLS certificate of :9999 (node) expires in 2.5 days",)
    assert remarks(certificate=CERTIFICATE) == ()
    assert remarks(certificate=replace(CERTIFICATE, state="soon")) == said
    assert wrong(certificate=replace(CERTIFICATE, state="now")) == said


def test_a_certificate_that_clients_refuse_is_wrong() -> None:
    refused = replace(CERTIFICATE, state="refused", problem="node: expired at 2026-11-21T01:00:00Z")
    assert wrong(certificate=refused) == (
        "the TLS certificate of :9999 (node) is refused by every client:"
        " node: expired at 2026-11-21T01:00:00Z",
    )
