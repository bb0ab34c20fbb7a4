"""h2spec, a program that knows the rules of HTTP/2 and breaks them one by one, is content."""

import asyncio
import os
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.faults.nodes import a_node

SOURCE = Path(__file__).parent / "h2spec"
PACKAGE = "github.com/summerwind/h2spec/cmd/h2spec"
# A body is measured by the messages in it: gRPC knows no content-length, its clients send none, and
# its libraries do not look at one. Both cases are of requests that are no calls.
EXCLUDED = {
    'Sends a HEADERS frame with the "content-length" header field which does not equal the DATA'
    " frame payload length",
    'Sends a HEADERS frame with the "content-length" header field which does not equal the sum of'
    " the multiple DATA frames payload length",
}
# Some cases send frames one by one, and count on their being read together: an answer as small as
# ours may come, and its stream be over, before the last one. What fails has to fail every time.
RUNS = 3
# A limit of concurrent streams: the node announces none.
SKIPPED = 1


@pytest.fixture(scope="session")
def judge(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Built once; needs Go, and at its first time the network."""
    go = shutil.which("go")
    if go is None:
        pytest.skip("the Go tool chain is not installed: h2spec cannot be built")
    program = tmp_path_factory.mktemp("judge") / "h2spec"
    command = [go, "build", "-buildvcs=false", "-o", str(program), PACKAGE]
    built = subprocess.run(command, cwd=SOURCE, env=os.environ, capture_output=True, text=True)
    if built.returncode and any(word in built.stderr for word in ("dial tcp", "proxy", "lookup")):
        pytest.skip("Go's modules are not in the cache, and they cannot be fetched")
    assert built.returncode == 0, built.stderr
    return str(program)


def results(report: Path) -> tuple[set[str], int, int]:
    """What has failed, and how many cases there were and were skipped."""
    cases = list(ElementTree.parse(report).iter("testcase"))
    failed = {
        case.get("classname", "")
        for case in cases
        if case.find("failure") is not None or case.find("error") is not None
    }
    return failed, len(cases), sum(case.find("skipped") is not None for case in cases)


async def run(judge: str, *flags: str) -> None:
    child = await asyncio.create_subprocess_exec(
        judge, *flags, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(50):
            await child.wait()
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()


async def test_every_rule_of_http2_is_kept(judge: str, tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    async with a_node(tmp_path) as served:
        flags = ["--port", str(served.node.port("tcp")), "--strict", "--junit-report", str(report)]
        await run(judge, *flags)
        failed, count, skipped = results(report)
        assert (count >= 145, skipped) == (True, SKIPPED)
        for _ in range(1, RUNS):
            if failed > EXCLUDED:
                await run(judge, *flags)
                failed &= results(report)[0]
        assert failed == EXCLUDED
        assert await served.is_healthy()
        await served.quiet()
