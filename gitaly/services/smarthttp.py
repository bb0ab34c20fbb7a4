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
from gitaly.git import NO_HOOKS, Git
from gitaly.git.transfer import MESSAGE_BYTES, feeding, started
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
from gitaly.services.pack_objects import PackInterception
from gitaly.services.pushes import Pushes
from gitaly.services.sidechannels import sidechannel_of
from gitaly.services.streams import first_request, inputs
from gitaly.storage import Storages
from gitaly.transport import pktline
from gitaly.transport.negotiation import Negotiation


class SmartHTTPServicer:
    """What Workhorse speaks with on behalf of git's HTTP clients."""

    SERVICE = "gitaly.SmartHTTPService"

    def __init__(
        self,
        storages: Storages,
        git: Git,
        *,
        pushes: Pushes,
        packs: PackInterception,
        protocol: GitProtocol,
        metrics: NegotiationMetrics,
        logger: Logger,
    ) -> None:
        self._storages = storages
        self._git = git
        self._pushes = pushes
        self._packs = packs
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
        config = config_options(request.git_config_options, "cmd")
        env = self._protocol.environment(request.git_protocol, call)
        if subcommand == "upload-pack":
            config = [*config, BUNDLE_URI_OFF]
        service = pktline.encode(f"# service=git-{subcommand}\n".encode())
        yield InfoRefsResponse(data=service + pktline.FLUSH)
        run = self._git.run(
            subcommand,
            repository=repository,
            config=config,
            env=env,
            flags=["--stateless-rpc", "--advertise-refs"],
            args=[repository.path],
            hooks=NO_HOOKS,
        )
        async with started(run, "cmd", Internal) as child:
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
        repository = self._storages.existing(request.repository)
        config, env = self._packs.options(request.repository, repository.path, call, "http")
        fetch = Fetch(
            repository=repository,
            config=[
                *config_options(
                    request.git_config_options,
                    "running upload-pack: spawning upload-pack",
                    no_value=InvalidRequest,
                    bad_key=FailedPrecondition,
                ),
                BUNDLE_URI_OFF,
                *config,
            ],
            env=env | self._protocol.environment(request.git_protocol, call),
        )
        async with sidechannel_of(call, "open sidechannel", retryable=True) as peer:
            try:
                await serve_stateless(self._git, fetch, peer)
            finally:
                report(fetch, call, self._metrics, self._logger)
        said = fetch.negotiation if fetch.is_parsed else Negotiation()
        return PostUploadPackWithSidechannelResponse(
            packfile_negotiation_statistics=statistics_of(said)
        )

    async def PostReceivePack(
        self, requests: AsyncIterator[PostReceivePackRequest], call: Call
    ) -> AsyncIterator[PostReceivePackResponse]:
        first = await first_request(requests)
        if not first.gl_id:
            raise InvalidRequest("empty GlId")
        if first.data:
            raise InvalidRequest("non-empty Data")
        repository = self._storages.existing(first.repository)
        async with self._pushes.receive_pack(
            repository,
            first,
            call,
            protocol="http",
            words="spawning receive-pack",
            failed=FailedPrecondition,
            flags=["--stateless-rpc"],
        ) as child:
            assert child.stdout is not None
            async with feeding(child, inputs(requests, "data")):
                while piece := await child.stdout.read(MESSAGE_BYTES):
                    yield PostReceivePackResponse(data=piece)
                ended = await child.wait()
        if not ended:
            stderr = child.error_text.decode(errors="replace")
            raise FailedPrecondition(f"waiting for receive-pack: {ended}", stderr=stderr)
