"""Pushes as the original was seen to handle them: what GitLab is asked, and what people read.

`recorded/pushes.json` is what Gitaly 18.9 did; here the same pushes go to this node.
"""

import base64
import json
import re
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.node_process import BIN, NodeProcess
from tests.e2e.pushes.pushers import Pusher, said
from tests.hooks.custom.scripts import write_hook
from tests.hooks.gitlab.server import Call, GitLabServer, Reply

RECORDED: dict[str, Any] = json.loads((Path(__file__).parent / "recorded/pushes.json").read_text())


def labelled(text: str, commits: dict[str, str], pusher: Pusher) -> str:
    """With names in the place of what differs from run to run."""
    for name, object_id in commits.items():
        text = text.replace(object_id, f"<{name}>")
    text = text.replace("0" * 40, "<zero>").replace(str(pusher.path), "<storage>/REPO")
    text = text.replace(pusher.relative_path, "REPO")
    return re.sub(r"(tmp_objdir-incoming-)\w+", r"\1*", text)


def expected(text: str) -> str:
    return re.sub(r"p/(acc|ref|hooks)\.git", "REPO", text)


def call_as_recorded(call: Call, commits: dict[str, str], pusher: Pusher) -> dict[str, Any]:
    claims = json.loads(
        base64.urlsafe_b64decode(call.headers["Gitlab-Shell-Api-Request"].split(".")[1] + "==")
    )
    return {
        "agent": call.headers["User-Agent"].partition("/")[0],
        "body": json.loads(labelled(call.raw.decode(), commits, pusher)),
        "call": f"{call.method} {call.path}",
        "headers": {x: call.headers[x] for x in ("Authorization", "Connection", "Content-Type")},
        "jwt": {
            "claims": sorted(claims),
            "fresh": abs(time.time() - claims["iat"]) < 30,
            "iss": claims["iss"],
            "life": claims["exp"] - claims["iat"],
        },
        "request_id": bool(call.headers.get("X-Request-ID")),
    }


def state(pusher: Pusher, commits: dict[str, str]) -> dict[str, Any]:
    names = {object_id: name for name, object_id in commits.items()}
    refs = [f"{ref} {names[object_id]}" for ref, object_id in sorted(pusher.references().items())]
    return {"left": pusher.left(), "objects": pusher.objects(), "refs": refs}


ACCEPTED = {
    "create a branch": ["b1:topic"],
    "update a branch": ["b1:main"],
    "delete a branch": [":side"],
    "push options": ["-o", "ci.skip", "-o", "merge_request.title=A b", "b1:b1"],
}


@pytest.mark.parametrize("name", list(RECORDED["accepted"]))
def test_an_accepted_push_makes_the_recorded_calls(
    name: str, gitlab: GitLabServer, pusher: Pusher, history: tuple[Path, dict[str, str]]
) -> None:
    commits = history[1]
    recorded = json.loads(expected(json.dumps(RECORDED["accepted"][name])))
    answer = pusher.push(*ACCEPTED[name])
    assert said(answer) == recorded["said"]
    assert state(pusher, commits) == recorded["state"]
    assert [call_as_recorded(x, commits, pusher) for x in gitlab.calls] == recorded["calls"]


ALERT = (
    "This is an alert with a text that is long enough to be wrapped over several lines of the"
    " terminal, twice at the least."
)
REFUSED = {
    "200 status false": ("/allowed", Reply(body={"status": False, "message": "Protected branch"})),
    "401 with message": ("/allowed", Reply(401, {"message": "You are not allowed to push"})),
    "401 without message": ("/allowed", Reply(401, {})),
    "500 JSON": ("/allowed", Reply(500, {"message": "500 Internal Server Error"})),
    "post_receive messages": (
        "/post_receive",
        Reply(
            body={
                "reference_counter_decreased": True,
                "messages": [
                    {
                        "message": "To create a merge request, visit:\n  http://x/y",
                        "type": "basic",
                    },
                    {"message": ALERT, "type": "alert"},
                ],
            }
        ),
    ),
}


@pytest.mark.parametrize("name", list(REFUSED))
def test_a_refusal_and_a_message_read_as_recorded(
    name: str, gitlab: GitLabServer, pusher: Pusher, history: tuple[Path, dict[str, str]]
) -> None:
    recorded = RECORDED["refused"][name]
    called, reply = REFUSED[name]
    gitlab.replies[called] = reply
    answer = pusher.push("b1:main b2:new")
    assert lines_of(said(answer)) == lines_of(recorded["said"])
    assert state(pusher, history[1]) == recorded["state"]
    assert [f"{x.method} {x.path}" for x in gitlab.calls] == recorded["calls"]


def lines_of(shown: list[str]) -> tuple[list[str], list[str]]:
    """What the node said, in its order, and the rest in any."""
    remote = [line for line in shown if line.startswith("remote:")]
    return remote, sorted(line for line in shown if not line.startswith("remote:"))


LOG = """
echo "<NAME> $*" >>{log}
echo "cwd $(pwd)" >>{log}
env | grep -E '^(GIT_(DIR|OBJECT_DIRECTORY|ALTERNATE_OBJECT_DIRECTORIES)|GL_[A-Z_]*)=' | sort |
    sed "s/^/env /" >>{log}
sed "s/^/stdin /" >>{log}
"""


def test_custom_hooks_run_in_the_recorded_order_with_the_recorded_environment(
    gitlab: GitLabServer,
    pusher: Pusher,
    history: tuple[Path, dict[str, str]],
    node_of_gitlab: NodeProcess,
    tmp_path: Path,
) -> None:
    recorded = json.loads(expected(json.dumps(RECORDED["custom"]["all kinds"])))
    log = tmp_path / "log"
    for hook in ("pre-receive", "update", "post-receive"):
        for name, path in (
            (f"repository {hook}", pusher.path / f"custom_hooks/{hook}"),
            (f"repository {hook}.d/50-r", pusher.path / f"custom_hooks/{hook}.d/50-r"),
            (f"global {hook}/10-a", node_of_gitlab.directory / f"global/{hook}.d/10-a"),
            (f"global {hook}/20-b", node_of_gitlab.directory / f"global/{hook}.d/20-b"),
        ):
            write_hook(path, LOG.format(log=log).replace("<NAME>", name))
    try:
        answer = pusher.push("b1:one b2:two b3:three")
    finally:
        for hook in ("pre-receive", "update", "post-receive"):
            for name in ("10-a", "20-b"):
                (node_of_gitlab.directory / f"global/{hook}.d/{name}").unlink()
    assert said(answer) == recorded["said"]
    assert [f"{x.method} {x.path}" for x in gitlab.calls] == recorded["calls"]
    lines = labelled(log.read_text(), history[1], pusher).splitlines()
    kinds = ("cwd ", "env ", "stdin ")
    assert [x for x in lines if not x.startswith(kinds)] == recorded["ran"]
    seen: dict[str, dict[str, str]] = {}
    stdin: dict[str, list[str]] = {}
    run = ""
    for line in lines:
        if line.startswith("env "):
            variable, _, value = line.removeprefix("env ").partition("=")
            hook = re.split(r"[ ./]", run)[1]
            seen.setdefault(hook, {})[variable] = value
        elif line.startswith(kinds):
            stdin[run].append(line)
        else:
            run = line
            stdin[run] = []
    assert seen == recorded["env"]
    assert stdin == recorded["stdin"]


@pytest.mark.parametrize(
    ("name", "script"),
    [
        ("pre-receive fails", "echo to stdout; echo to stderr >&2; exit 1"),
        ("pre-receive exits 3, GL-HOOK-ERR", "echo GL-HOOK-ERR: say this >&2; exit 3"),
    ],
)
def test_a_custom_hook_that_refuses_reads_as_recorded(
    gitlab: GitLabServer,
    pusher: Pusher,
    history: tuple[Path, dict[str, str]],
    name: str,
    script: str,
) -> None:
    recorded = RECORDED["custom"][name]
    write_hook(pusher.path / "custom_hooks/pre-receive.d/10-first", script)
    answer = pusher.push("b1:one b2:two b3:three")
    assert sorted(said(answer)) == recorded["said"]
    assert state(pusher, history[1]) == recorded["state"]
    assert [f"{x.method} {x.path}" for x in gitlab.calls] == recorded["calls"]


def test_the_recorded_answers_of_check_are_given(
    gitlab: GitLabServer, node_of_gitlab: NodeProcess
) -> None:
    recorded = RECORDED["check"]
    config = node_of_gitlab.directory / "config.toml"
    good = check(config)
    assert good.returncode == recorded["good"]["exit"]
    assert within(recorded["good"]["stdout"], good.stdout)
    gitlab.replies["/check"] = Reply(401, {"message": "401 Unauthorized"})
    bad = check(config)
    assert bad.returncode == recorded["wrong secret"]["exit"]
    assert within(recorded["wrong secret"]["stdout"], bad.stdout)
    assert bad.stderr.splitlines() == recorded["wrong secret"]["stderr"]


def within(lines: list[str], text: str) -> bool:
    """All lines are there, in this order, whatever is between them."""
    rest = iter(text.splitlines())
    return all(line in rest for line in lines)


def check(config: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [BIN / "gitaly", "check", config], capture_output=True, text=True, timeout=60
    )
