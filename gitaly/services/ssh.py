"""SSHService: fetch, push and archive as over SSH; called by GitLab Shell and by other nodes."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from functools import partial

from gitaly._pb.shared_pb2 import ExitStatus
from gitaly._pb.ssh_pb2 import (
    SSHReceivePackRequest,
    SSHReceivePackResponse,
    SSHUploadArchiveRequest,
    SSHUploadArchiveResponse,
    SSHUploadPackWithSidechannelRequest,
    SSHUploadPackWithSidechannelResponse,
)
from gitaly.errors import Cancelled, Internal, InvalidRequest
from gitaly.git import PIPE, Git, go_quoted
from gitaly.git.process import GRACE_SECONDS
from gitaly.git.transfer import feeding, merged, started
from gitaly.git.upload_pack import (
    HUNG_UP,
    Fetch,
    NegotiationLimit,
    judge_negotiation,
    serve_stateful,
)
from gitaly.observe.log import Logger
from gitaly.rpc import Call
from gitaly.services.fetches import (
    BUNDLE_URI_OFF,
    GitProtocol,
    NegotiationMetrics,
    config_options,
    report,
    statistics_of,
)
from gitaly.services.pack_objects import PackInterception
from gitaly.services.pushes import Pushes
from gitaly.services.sidechannels import sidechannel_of
from gitaly.services.streams import first_request, inputs
from gitaly.storage import Storages
from gitaly.transport import sideband
from gitaly.transport.negotiation import END_OF_ARGUMENTS


class SSHServicer:
    """What a client of git speaks with over SSH."""

    SERVICE = "gitaly.SSHService"

    def __init__(
        self,
        storages: Storages,
        git: Git,
        *,
        pushes: Pushes,
        packs: PackInterception,
        protocol: GitProtocol,
        metrics: NegotiationMetrics,
        upload_pack_seconds: float,  # until a fetch must be negotiated
        upload_archive_seconds: float,
        logger: Logger,
    ) -> None:
        self._storages = storages
        self._git = git
        self._pushes = pushes
        self._packs = packs
        self._protocol = protocol
        self._metrics = metrics
        self._upload_pack_seconds = upload_pack_seconds
        self._upload_archive_seconds = upload_archive_seconds
        self._logger = logger

    async def SSHUploadPackWithSidechannel(
        self, request: SSHUploadPackWithSidechannelRequest, call: Call
    ) -> SSHUploadPackWithSidechannelResponse:
        # The word is the reference's, and so is opening the sidechannel before any check.
        async with sidechannel_of(call, "opennig sidechannel", retryable=False) as peer:
            repository = self._storages.existing(request.repository)
            config, env = self._packs.options(request.repository, repository.path, call, "ssh")
            fetch = Fetch(
                repository=repository,
                config=[
                    *config_options(
                        request.git_config_options, "running upload-pack: starting command"
                    ),
                    BUNDLE_URI_OFF,
                    *config,
                ],
                env=env | self._protocol.environment(request.git_protocol, call),
            )
            try:
                with self._packs.fetches.named(fetch):
                    await serve_stateful(self._git, fetch, peer, self._upload_pack_seconds)
            finally:
                report(fetch, call, self._metrics, self._logger)
        return SSHUploadPackWithSidechannelResponse(
            packfile_negotiation_statistics=statistics_of(fetch.negotiation)
        )

    async def SSHReceivePack(
        self, requests: AsyncIterator[SSHReceivePackRequest], call: Call
    ) -> AsyncIterator[SSHReceivePackResponse]:
        first = await first_request(requests)
        if not first.gl_id:
            raise InvalidRequest("empty GlId")
        if first.stdin:
            raise InvalidRequest("non-empty data in first request")
        repository = self._storages.changeable(first.repository)
        async with (
            self._pushes.receive_pack(
                repository,
                first,
                call,
                protocol="ssh",
                words="start cmd",
                failed=Internal,
                stderr=PIPE,
            ) as child,
            feeding(child, inputs(requests, "stdin")),
            aclosing(merged(child)) as output,
        ):
            async for band, piece in output:
                if band == sideband.STDOUT:
                    yield SSHReceivePackResponse(stdout=piece)
                else:
                    yield SSHReceivePackResponse(stderr=piece)
            ended = await child.wait()
        if ended:
            return  # no exit status: its absence is success
        yield SSHReceivePackResponse(exit_status=ExitStatus(value=ended.number))
        if child.error_text == HUNG_UP:
            raise Cancelled("user canceled the push")
        raise Internal(f"cmd wait: {ended}")

    async def SSHUploadArchive(
        self, requests: AsyncIterator[SSHUploadArchiveRequest], _: Call
    ) -> AsyncIterator[SSHUploadArchiveResponse]:
        first = await first_request(requests)
        repository = self._storages.existing(first.repository)
        if first.stdin:
            raise InvalidRequest("non-empty stdin in first request")
        limit = NegotiationLimit(END_OF_ARGUMENTS, self._upload_archive_seconds)
        run = self._git.run(
            "upload-archive", repository=repository, args=[repository.path], stdin=PIPE, stderr=PIPE
        )
        async with (
            started(run, "running upload-archive: starting command", Internal) as child,
            feeding(child, inputs(requests, "stdin"), (limit.watcher.feed,)),
            aclosing(merged(child)) as output,
        ):
            with limit.ticking(partial(child.stop, GRACE_SECONDS)):
                async for band, piece in output:
                    if band == sideband.STDOUT:
                        yield SSHUploadArchiveResponse(stdout=piece)
                    else:
                        yield SSHUploadArchiveResponse(stderr=piece)
                ended = await child.wait()
        if not ended:
            judge_negotiation(limit, "upload-archive")
            if child.error_text == HUNG_UP:
                raise Cancelled("running upload-archive: user canceled the request")
        yield SSHUploadArchiveResponse(exit_status=ExitStatus(value=ended.number))
        if not ended:
            said = go_quoted(child.error_text)
            raise Internal(f"send: cmd wait: {ended}, stderr: {said}")
