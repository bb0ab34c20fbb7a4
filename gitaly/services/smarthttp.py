"""SmartHTTPService: fetch and push as over HTTP, one request at a time; called by Workhorse."""

from collections.abc import AsyncIterator

from gitaly._pb.smarthttp_pb2 import (
    InfoRefsRequest,
    InfoRefsResponse,
    PostReceivePackRequest,
    PostReceivePackResponse,
    PostUploadPackWithSidechannelRequest,
    PostUploadPackWithSidechannelResponse,
)
from gitaly.errors import FailedPrecondition, Internal, InvalidRequest
from gitaly.git import NO_HOOKS, PIPE, Git, checked_options
from gitaly.git.transfer import MESSAGE_BYTES, feeding
from gitaly.git.upload_pack import Fetch, serve_stateless
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
from gitaly.services.pushes import PushPolicy
from gitaly.services.sidechannels import sidechannel_of
from gitaly.services.streams import first_request, inputs
from gitaly.storage import Storages
from gitaly.transport import pktline


class SmartHTTPServicer:
    """What Workhorse speaks with on behalf of git's HTTP clients."""

    SERVICE = "gitaly.SmartHTTPService"

    def __init__(
        self,
        storages: Storages,
        git: Git,
        *,
        pushes: PushPolicy,
        protocol: GitProtocol,
        metrics: NegotiationMetrics,
        logger: Logger,
    ) -> None:
        self._storages = storages
        self._git = git
        self._pushes = pushes
        self._protocol = protocol
        self._metrics = metrics
        self._logger = logger

    def InfoRefsUploadPack(
        self, request: InfoRefsRequest, call: Call
    ) -> AsyncIterator[InfoRefsResponse]:
        return self._advertise("upload-pack", request, call)

    def InfoRefsReceivePack(
        self, request: InfoRefsRequest, call: Call
    ) -> AsyncIterator[InfoRefsResponse]:
        return self._advertise("receive-pack", request, call)

    async def _advertise(
        self, subcommand: str, request: InfoRefsRequest, call: Call
    ) -> AsyncIterator[InfoRefsResponse]:
        repository = self._storages.existing(request.repository)
        env = self._protocol.environment(request.git_protocol, call)
        config = config_options(request.git_config_options)
        if subcommand == "upload-pack":
            config = [*config, BUNDLE_URI_OFF]
        service = pktline.encode(f"# service=git-{subcommand}\n".encode())
        yield InfoRefsResponse(data=service + pktline.FLUSH)
        async with self._git.run(
            subcommand,
            repository=repository,
            config=config,
            env=env,
            flags=["--stateless-rpc", "--advertise-refs"],
            args=[repository.path],
            hooks=NO_HOOKS,
        ) as child:
            assert child.stdout is not None
            while piece := await child.stdout.read(MESSAGE_BYTES):
                yield InfoRefsResponse(data=piece)
            ended = await child.wait()
        if not ended:
            stderr = child.error_text.decode(errors="replace")
            raise Internal(f"wait: {ended}", stderr=stderr)

    async def PostUploadPackWithSidechannel(
        self, request: PostUploadPackWithSidechannelRequest, call: Call
    ) -> PostUploadPackWithSidechannelResponse:
        fetch = Fetch(
            repository=self._storages.existing(request.repository),
            config=[*checked_options(request.git_config_options), BUNDLE_URI_OFF],
            env=self._protocol.environment(request.git_protocol, call),
        )
        async with sidechannel_of(call, "open sidechannel", retryable=True) as peer:
            try:
                await serve_stateless(self._git, fetch, peer)
            finally:
                report(fetch, call, self._metrics, self._logger)
        statistics = statistics_of(fetch.negotiation) if fetch.is_parsed else None
        return PostUploadPackWithSidechannelResponse(packfile_negotiation_statistics=statistics)

    async def PostReceivePack(
        self, requests: AsyncIterator[PostReceivePackRequest], call: Call
    ) -> AsyncIterator[PostReceivePackResponse]:
        first = await first_request(requests)
        if not first.gl_id:
            raise InvalidRequest("empty GlId")
        if first.data:
            raise InvalidRequest("non-empty Data")
        repository = self._storages.existing(first.repository)
        self._pushes.check()
        async with self._git.run(
            "receive-pack",
            repository=repository,
            config=config_options(first.git_config_options),
            env=self._protocol.environment(first.git_protocol, call),
            flags=["--stateless-rpc"],
            args=[repository.path],
            hooks=NO_HOOKS,
            stdin=PIPE,
            hangs_up=True,
        ) as child:
            assert child.stdout is not None
            async with feeding(child, inputs(requests, "data")):
                while piece := await child.stdout.read(MESSAGE_BYTES):
                    yield PostReceivePackResponse(data=piece)
                ended = await child.wait()
        if not ended:
            raise FailedPrecondition(f"waiting for receive-pack: {ended}")
