"""Tags as messages. Source: Gitaly, internal/git/catfile/tag.go."""

from gitaly._pb.shared_pb2 import GitCommit, Tag
from gitaly.git import NO_MAILMAP, Mailmap, Object, parse_tag
from gitaly.services.commits import KEPT_BYTES, fill_author, signature_type


def annotated_tag(
    tag: Object,
    *,
    name: bytes = b"",
    target: GitCommit | None = None,
    mailmap: Mailmap = NO_MAILMAP,
) -> Tag:
    """The message about a tag object; `name` is that of its reference, if it is known.

    `target`: the commit that lies under all tags, if it is a commit. The tag's own message loses
    its last line feeds and is cut after 10 KiB; its length is told without those line feeds.
    """
    parsed = parse_tag(tag.data)
    message = parsed.message.rstrip(b"\n")
    built = Tag(
        name=name or parsed.name,
        id=tag.object_id,
        message=message[:KEPT_BYTES],
        message_size=len(message),
        signature_type=signature_type(parsed.signature),
        target_commit=target,
    )
    if parsed.tagger is not None:
        fill_author(built.tagger, mailmap.applied(parsed.tagger))
    return built


def lightweight_tag(name: bytes, object_id: str, target: GitCommit | None = None) -> Tag:
    """The message about a reference that leads to no tag object; `target` if to a commit."""
    return Tag(name=name, id=object_id, target_commit=target)
