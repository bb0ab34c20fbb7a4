"""RepositoryInfo's answer, from what the storage room has found."""

from google.protobuf.timestamp_pb2 import Timestamp

from gitaly._pb.repository_pb2 import RepositoryInfoResponse
from gitaly.storage import RepositoryInfo
from gitaly.storage.object_info import LooseObjects, Packs
from gitaly.storage.pack_files import Bitmap


def info_response(info: RepositoryInfo) -> RepositoryInfoResponse:
    """What does not exist is unset."""
    references = info.references
    response = RepositoryInfoResponse(
        size=info.size,
        references=RepositoryInfoResponse.ReferencesInfo(
            loose_count=references.loose_count,
            packed_size=references.packed_bytes,
            reference_backend=(
                RepositoryInfoResponse.ReferencesInfo.REFERENCE_BACKEND_FILES
                if references.backend == "files"
                else RepositoryInfoResponse.ReferencesInfo.REFERENCE_BACKEND_REFTABLE
            ),
        ),
        objects=_objects(info.loose, info.packs),
        is_object_pool=info.is_object_pool,
    )
    _set_indices(response, info)
    if info.alternates is not None:
        response.alternates.object_directories.extend(info.alternates.object_directories)
        response.alternates.last_modified.CopyFrom(_seconds(info.alternates.last_modified))
    if info.last_full_repack is not None:
        response.last_full_repack.CopyFrom(_seconds(info.last_full_repack))
    return response


def _objects(loose: LooseObjects, packs: Packs) -> RepositoryInfoResponse.ObjectsInfo:
    size = loose.size + packs.size
    stale_size = loose.stale_size + packs.cruft_size
    return RepositoryInfoResponse.ObjectsInfo(
        size=size,
        recent_size=size - stale_size,
        stale_size=stale_size,
        keep_size=packs.keep_size,
        packfile_count=packs.count,
        reverse_index_count=packs.reverse_index_count,
        cruft_count=packs.cruft_count,
        keep_count=packs.keep_count,
        loose_objects_count=loose.count,
        stale_loose_objects_count=loose.stale_count,
        loose_objects_garbage_count=loose.garbage_count,
    )


def _set_indices(response: RepositoryInfoResponse, info: RepositoryInfo) -> None:
    graph = info.commit_graph
    if graph is not None:
        response.commit_graph.CopyFrom(
            RepositoryInfoResponse.CommitGraphInfo(
                commit_graph_chain_length=graph.chain_length,
                has_bloom_filters=graph.has_bloom_filters,
                has_generation_data=graph.has_generation_data,
                has_generation_data_overflow=graph.has_generation_data_overflow,
            )
        )
    packs = info.packs
    if packs.bitmap is not None:
        response.bitmap.CopyFrom(_bitmap(packs.bitmap))
    if packs.multi_pack_index_bitmap is not None:
        response.multi_pack_index_bitmap.CopyFrom(_bitmap(packs.multi_pack_index_bitmap))
    index = packs.multi_pack_index
    if index is not None:
        response.multi_pack_index.CopyFrom(
            RepositoryInfoResponse.MultiPackIndexInfo(
                packfile_count=index.pack_count,
                version=index.version,
                has_large_offsets=index.has_large_offsets,
                has_bitmapped_packs=index.has_bitmapped_packs,
                has_reverse_index=index.has_reverse_index,
            )
        )


def _bitmap(bitmap: Bitmap) -> RepositoryInfoResponse.BitmapInfo:
    return RepositoryInfoResponse.BitmapInfo(
        version=bitmap.version,
        has_hash_cache=bitmap.has_hash_cache,
        has_lookup_table=bitmap.has_lookup_table,
    )


def _seconds(time: float) -> Timestamp:
    return Timestamp(seconds=int(time))
