"""Every way to refuse a push: what people read, and that nothing has changed."""

import re
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.node_process import (
    REFERENCE_HOOKS,
    NodeProcess,
    all_pids,
    command_line,
    wait_until,
)
from tests.e2e.pushes.conftest import gitlab_config
from tests.e2e.pushes.pushers import Pusher, make_target, said
from tests.hooks.custom.scripts import write_hook
from tests.hooks.gitlab.server import GitLabServer, Reply

DECLINED = " ! [remote rejected] b1 -> main (pre-receive hook declined)"
FAILED = "error: failed to push some refs to 'ssh://x/y.git'"
History = tuple[Path, dict[str, str]]
own_hooks_only = pytest.mark.skipif(
    bool(REFERENCE_HOOKS), reason="the hook program of GITALY_HOOKS_REFERENCE cannot do this"
)


@pytest.fixture(autouse=True)
def unchanged(pusher: Pusher) -> Iterator[None]:
    """After every test: the references are the old ones and no quarantine is left."""
    before = pusher.references()
    yield
    assert pusher.references() == before
    assert pusher.left() == []


BY_GITLAB = {
    "401": ("/allowed", Reply(401, {"message": "No"}), "GitLab: No"),
    "403": ("/allowed", Reply(403, {"message": "Not you"}), "GitLab: Not you"),
    "500 without JSON": (
        "/allowed",
        Reply(500, b"<html>of a proxy</html>", "text/html"),
        "GitLab: Internal API error (500)",
    ),
    "invalid JSON": (
        "/allowed",
        Reply(200, b"{oh"),
        "GitLab: decoding response from /allowed endpoint: not JSON",
    ),
    "other media type": (
        "/allowed",
        Reply(200, b"hello", "text/plain"),
        "GitLab: /allowed endpoint respond with unsupported content type: text/plain",
    ),
    "429": ("/allowed", Reply(429, {"message": "slow"}), "error executing git hook"),
    "not counted": ("/pre_receive", Reply(body={"reference_counter_increased": False}), None),
    "pre_receive 500": (
        "/pre_receive",
        Reply(500, {"message": "sorry"}),
        "calling pre_receive endpoint: http post to gitlab api /pre_receive endpoint: sorry",
    ),
}


@pytest.mark.parametrize("case", list(BY_GITLAB))
def test_gitlab_refuses(case: str, gitlab: GitLabServer, pusher: Pusher) -> None:
    name, reply, text = BY_GITLAB[case]
    gitlab.replies[name] = reply
    answer = pusher.push("b1:main")
    remote = [f"remote: {text}"] if text is not None else []
    assert said(answer) == ["exit 1", *remote, DECLINED, FAILED]
    assert pusher.objects() == 3  # nothing of the push is in the object store
    assert "/post_receive" not in gitlab.names


def test_gitlab_does_not_answer_in_time(
    gitlab: GitLabServer, pusher: Pusher, own_node: Callable[[str], NodeProcess], tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("x")
    text = gitlab_config(gitlab.url, tmp_path / "secret").replace("= 20", "= 1")
    slow = Pusher(node=own_node(text), work=pusher.work, relative_path="slow.git")
    make_target(slow.path, slow.work)
    gitlab.hold("/allowed")
    answer = slow.push("b1:main")
    gitlab.released.set()
    gitlab.released = threading.Event()
    assert said(answer)[:2] == ["exit 1", "remote: GitLab: Internal API unreachable"]
    assert (slow.objects(), slow.left()) == (3, [])


def test_gitlab_is_not_there(
    pusher: Pusher, own_node: Callable[[str], NodeProcess], tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("x")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        node = own_node(gitlab_config(url, tmp_path / "secret"))
        alone = Pusher(node=node, work=pusher.work, relative_path="alone.git")
        make_target(alone.path, alone.work)
        answer = alone.push("b1:main")
    unreachable = "remote: GitLab: Internal API unreachable"
    assert said(answer) == ["exit 1", unreachable, DECLINED, FAILED]
    assert (alone.objects(), alone.left()) == (3, [])


def test_gitlab_does_not_know_such_users(gitlab: GitLabServer, pusher: Pusher) -> None:
    stranger = Pusher(
        node=pusher.node, work=pusher.work, relative_path=pusher.relative_path, gl_id="who-1"
    )
    answer = stranger.push("b1:main")
    assert said(answer)[1] == 'remote: GitLab: setting gl_id: gl_id="who-1" is invalid'
    assert gitlab.calls == []


def test_gitlab_is_not_asked_about_a_repository_without_its_name(
    gitlab: GitLabServer, pusher: Pusher
) -> None:
    nameless = Pusher(
        node=pusher.node, work=pusher.work, relative_path=pusher.relative_path, gl_repository=""
    )
    assert said(nameless.push("b1:main"))[1] == "remote: repository not set"
    assert gitlab.calls == []


BY_HOOK = {
    "on stdout": ("echo no way; exit 1", ["no way"]),
    "on stderr": ("echo no way >&2; exit 1", ["no way"]),
    "silently": ("exit 7", []),
    "killed": ("kill -9 $$", ["custom hook pre-receive was ended by signal: killed"]),
}


@pytest.mark.parametrize("case", list(BY_HOOK))
def test_a_custom_hook_refuses(case: str, gitlab: GitLabServer, pusher: Pusher) -> None:
    script, lines = BY_HOOK[case]
    write_hook(pusher.path / "custom_hooks/pre-receive", script)
    answer = pusher.push("b1:main")
    assert said(answer) == ["exit 1", *(f"remote: {line}" for line in lines), DECLINED, FAILED]
    assert pusher.objects() == 3
    assert gitlab.names == ["/allowed"]


def test_a_custom_hook_that_hangs_is_ended(
    pusher: Pusher, own_node: Callable[[str], NodeProcess]
) -> None:
    node = own_node('[hooks]\ncustom_hooks_timeout = "500ms"\n')
    impatient = Pusher(node=node, work=pusher.work, relative_path="hangs.git")
    make_target(impatient.path, impatient.work)
    write_hook(impatient.path / "custom_hooks/pre-receive", "exec sleep 4711")
    answer = impatient.push("b1:main")
    text = "custom hook pre-receive did not end within 0.5 seconds"
    assert said(answer) == ["exit 1", f"remote: {text}", DECLINED, FAILED]
    assert (impatient.objects(), impatient.left()) == (3, [])
    assert [pid for pid in all_pids() if b"sleep\x004711" in command_line(pid)] == []


def test_the_log_tells_of_a_hook_that_has_refused(gitlab: GitLabServer, pusher: Pusher) -> None:
    write_hook(pusher.path / "custom_hooks/pre-receive", "echo because >&2; exit 3")
    pusher.push("b1:main")
    lines = [x for x in pusher.node.log().splitlines() if pusher.relative_path in x]
    [own] = [x for x in lines if '"custom hook finished"' in x]
    [phase] = [x for x in lines if '"hook refused"' in x]
    assert '"exit_status":"3"' in own
    assert '"stderr":"because"' in own
    assert '"hook":"pre-receive"' in phase
    assert '"exit_status":3' in phase


def test_without_gitlab_only_what_the_rules_allow(
    pusher: Pusher, own_node: Callable[[str], NodeProcess], history: History
) -> None:
    node = own_node(
        '[[standalone.rule]]\nrefs = ["refs/heads/main"]\ndeny_non_fast_forward = true\n'
        'deny_deletion = true\n[[standalone.rule]]\nrefs = ["refs/heads/side"]\n'
        'users = ["user-7"]\n[[standalone.rule]]\nrepositories = ["default/old*"]\n'
        "read_only = true\n[[standalone.rule]]\nmax_push_bytes = 2000\n"
    )
    ruled = Pusher(node=node, work=pusher.work, relative_path="ruled.git")
    make_target(ruled.path, ruled.work)
    assert ruled.push("b2:main").code == 0
    before = ruled.objects()
    assert said(ruled.push("--force", "b1:main b3:new"))[1:3] == [
        "remote: refs/heads/main must not lose commits: this is not a fast-forward.",
        " ! [remote rejected] b1 -> main (pre-receive hook declined)",
    ]
    assert ruled.objects() == before
    deletion = said(ruled.push(":main"))
    assert deletion[1] == "remote: refs/heads/main must not be deleted."
    protected = said(ruled.push("b3:side"))
    assert protected[1] == "remote: refs/heads/side is protected: you may not change it."
    (ruled.path / "custom_hooks").mkdir()
    old = Pusher(node=node, work=pusher.work, relative_path="old.git")
    make_target(old.path, old.work)
    assert said(old.push("b1:main"))[1] == "remote: This repository is read-only."
    seventh = Pusher(node=node, work=pusher.work, relative_path="ruled.git", gl_id="user-7")
    assert seventh.push("b3:side").code == 0


def test_git_itself_refuses_a_push_that_is_too_large(
    pusher: Pusher, own_node: Callable[[str], NodeProcess], tmp_path: Path
) -> None:
    node = own_node("[[standalone.rule]]\nmax_push_bytes = 100\n")
    bounded = Pusher(node=node, work=pusher.work, relative_path="bounded.git")
    make_target(bounded.path, bounded.work)
    answer = bounded.push("b1:main")
    assert "remote: fatal: pack exceeds maximum allowed size" in answer.stderr
    assert (bounded.objects(), bounded.left()) == (3, [])


def test_a_webhook_is_asked_before_and_told_after(
    pusher: Pusher, own_node: Callable[[str], NodeProcess], history: History
) -> None:
    with GitLabServer().serving() as server:
        api = f"{server.url}/api/v4/internal"
        node = own_node(
            f'[standalone]\nwebhook_before = "{api}/before"\nwebhook_after = "{api}/after"\n'
            'webhook_secret = "s"\n'
        )
        hooked = Pusher(node=node, work=pusher.work, relative_path="hooked.git")
        make_target(hooked.path, hooked.work)
        server.replies["/before"] = Reply(403, {"message": "It is Friday."})
        assert said(hooked.push("b1:main")) == ["exit 1", "remote: It is Friday.", DECLINED, FAILED]
        assert (hooked.objects(), server.names) == (3, ["/before"])
        server.replies["/before"] = Reply(503)
        assert said(hooked.push("b1:main"))[1] == (
            "remote: The push could not be checked: no useful answer."
        )
        server.replies |= {"/before": Reply(204, b""), "/after": Reply(200, {"message": "Hi!"})}
        server.calls.clear()
        answer = hooked.push("-o", "x=y", "b1:main")
        assert said(answer) == ["exit 0", "remote: Hi!"]
        assert server.names == ["/before", "/after"]
    before, after = (call.body for call in server.calls)
    commits = history[1]
    assert before["changes"] == [
        {"old": commits["base"], "new": commits["b1"], "ref": "refs/heads/main"}
    ]
    assert (before["event"], after["event"]) == ("pre-receive", "post-receive")
    assert before["user"]["id"] == "user-123"
    assert before["push_options"] == ["x=y"]
    assert "tmp_objdir-incoming" in before["object_directory"]
    assert server.calls[0].headers["X-Gitaly-Signature-256"].startswith("sha256=")


def test_a_webhook_that_is_not_there_lets_nothing_pass(
    pusher: Pusher, own_node: Callable[[str], NodeProcess], tmp_path: Path
) -> None:
    node = own_node(
        f'[standalone]\nwebhook_before = "http+unix://{tmp_path}%2Fno/x"\n'.replace(
            str(tmp_path), str(tmp_path).replace("/", "%2F")
        )
    )
    hooked = Pusher(node=node, work=pusher.work, relative_path="hooked.git")
    make_target(hooked.path, hooked.work)
    answer = hooked.push("b1:main")
    assert said(answer)[1] == "remote: The push could not be checked: nobody answers."


class TestAfterPreReceive:
    """Here references of a push part: those that are not refused change."""

    @pytest.fixture(autouse=True)
    def unchanged(self) -> None:
        """Not so here."""

    def test_an_update_hook_refuses_one_reference_of_three(
        self, gitlab: GitLabServer, pusher: Pusher, history: History
    ) -> None:
        write_hook(
            pusher.path / "custom_hooks/update",
            'test "$1" != refs/heads/two || { echo "not two"; exit 1; }',
        )
        answer = pusher.push("b1:one b2:two b3:three")
        assert said(answer) == [
            "exit 1",
            "remote: not two",
            "remote: error: hook declined to update refs/heads/two",
            " * [new branch]      b1 -> one",
            " * [new branch]      b3 -> three",
            " ! [remote rejected] b2 -> two (hook declined)",
            FAILED,
        ]
        assert sorted(pusher.references()) == [
            f"refs/heads/{name}" for name in ("main", "one", "side", "three")
        ]
        assert pusher.left() == []
        told = next(call for call in gitlab.calls if call.name == "/post_receive").body["changes"]
        assert "refs/heads/two" not in told

    @own_hooks_only
    def test_a_node_that_fails_says_under_which_id_the_log_tells_more(
        self, gitlab: GitLabServer, pusher: Pusher
    ) -> None:
        (pusher.path / "custom_hooks").mkdir()
        (pusher.path / "custom_hooks/update.d").symlink_to("update.d")
        shown = said(pusher.push("b1:main"))
        assert shown[1] == "remote: error executing git hook"
        found = re.fullmatch(r"remote: correlation id: (\w+)", shown[2])
        assert found is not None
        lines = [x for x in pusher.node.log().splitlines() if found[1] in x]
        assert any("too many levels of symbolic links" in line for line in lines)

    @pytest.mark.parametrize(
        ("reply", "text"),
        [
            (
                Reply(500, {"message": "sorry"}),
                "GitLab: http post to gitlab api /post_receive endpoint: sorry",
            ),
            (
                Reply(
                    body={
                        "reference_counter_decreased": True,
                        "messages": [{"message": "m", "type": "other"}],
                    }
                ),
                "error writing messages to stream: invalid message type: other",
            ),
        ],
    )
    def test_what_fails_after_the_fact_is_told_and_changes_nothing(
        self, gitlab: GitLabServer, pusher: Pusher, history: History, reply: Reply, text: str
    ) -> None:
        gitlab.replies["/post_receive"] = reply
        answer = pusher.push("b1:main")
        assert answer.code == 0
        assert f"remote: {text}" in answer.stderr
        assert pusher.references()["refs/heads/main"] == history[1]["b1"]


@own_hooks_only
class TestBrokenOff:
    """Somebody does not wait for the answer."""

    def test_a_client_that_vanishes_while_gitlab_thinks_leaves_nothing(
        self, gitlab: GitLabServer, pusher: Pusher
    ) -> None:
        thinking = gitlab.hold("/allowed")
        push = pusher.start("b1:main")
        assert thinking.wait(20)
        assert pusher.left() != []
        push.kill()
        push.wait()
        wait_until(lambda: not pusher.left(), "the quarantine to be removed")
        gitlab.released.set()
        gitlab.released = threading.Event()
        wait_until(lambda: not pusher.node.git_running(), "git to end")
        assert pusher.objects() == 3
        for stream in (push.stdout, push.stderr):
            assert stream is not None
            stream.close()

    @pytest.fixture(autouse=True)
    def unchanged(self) -> None:
        """One of them changes something."""

    def test_what_has_happened_is_told_though_the_client_has_vanished(
        self, gitlab: GitLabServer, pusher: Pusher, history: History, tmp_path: Path
    ) -> None:
        ran = tmp_path / "ran"
        write_hook(pusher.path / "custom_hooks/post-receive", f"echo told; cat >{ran}")
        thinking = gitlab.hold("/post_receive")
        push = pusher.start("b1:main")
        assert thinking.wait(20)
        push.kill()
        push.wait()
        wait_until(lambda: not pusher.node.git_running(), "git to end")
        gitlab.released.set()
        gitlab.released = threading.Event()
        wait_until(lambda: ran.exists() and "main" in ran.read_text(), "the hook to run")
        assert pusher.references()["refs/heads/main"] == history[1]["b1"]
        for stream in (push.stdout, push.stderr):
            assert stream is not None
            stream.close()

    def test_a_client_that_vanishes_ends_a_custom_hook(
        self, gitlab: GitLabServer, pusher: Pusher, tmp_path: Path
    ) -> None:
        begun = tmp_path / "begun"
        write_hook(pusher.path / "custom_hooks/pre-receive", f"touch {begun}; exec sleep 4712")
        push = pusher.start("b1:main")
        wait_until(begun.exists, "the hook to begin")
        push.kill()
        push.wait()
        wait_until(lambda: not pusher.left(), "the quarantine to be removed")
        wait_until(
            lambda: not [p for p in all_pids() if b"sleep\x004712" in command_line(p)],
            "the hook to end",
        )
        for stream in (push.stdout, push.stderr):
            assert stream is not None
            stream.close()
