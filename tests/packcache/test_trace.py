"""What git tells of its work."""

from pathlib import Path

from gitaly.packcache.trace import Trace, fields_of

EVENTS = b"""{"event":"version","evt":"3"}
{"event":"region_leave","t_rel":0.149233,"category":"pack-objects","label":"enumerate-objects"}
{"event":"region_leave","t_rel":1.5,"category":"pack-objects","label":"write-pack-file"}
{"event":"region_leave","t_rel":1.5,"category":"progress","label":"write-pack-file"}
{"event":"data","category":"pack-objects","key":"write_pack_file/wrote","value":"5543"}
{"event":"data","category":"pack-objects","key":"written","value":"5543"}
{"event":"data","category":"pack-objects","key":"reused/delta","value":"7"}
{"event":"data","category":"pack-objects","key":"unknown","value":"1"}
{"event":"data","category":"pack-objects","key":"reused","value":"many"}
no event
{"event":"""


def test_events_become_fields_of_the_log() -> None:
    assert fields_of(EVENTS) == {
        "pack_objects.enumerate_objects_ms": 149,
        "pack_objects.write_pack_file_ms": 1500,
        "pack_objects.written_object_count": 5543,
        "pack_objects.reused_objects_delta_count": 7,
    }


def test_the_file_is_gone_afterwards(tmp_path: Path) -> None:
    trace = Trace(str(tmp_path))
    assert trace.take() == {}
    assert trace.environment("abc") == {}
    trace.make()
    path = Path(trace.path)
    assert path.parent == tmp_path
    assert trace.environment("abc") == {
        "GIT_TRACE2_EVENT": str(path),
        "GIT_TRACE2_BRIEF": "true",
        "GIT_TRACE2_PARENT_SID": "abc",
    }
    path.write_bytes(EVENTS)
    assert len(trace.take()) == 4
    assert not path.exists()
    trace.make()
    trace.remove()
    trace.remove()
    assert list(tmp_path.iterdir()) == []
