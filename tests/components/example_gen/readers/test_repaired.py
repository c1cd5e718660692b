import io

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from components.example_gen.readers.repaired import RepairedStream, unmarked, without_marked

pieces = st.lists(
    st.sampled_from([b"a", "é".encode(), "鞋".encode(), "👟".encode(), b"\xff", b"\xe9\x9e", b"\x80", b"\n"]),
    max_size=30,
)


@settings(max_examples=60, deadline=None)
@given(pieces.map(b"".join), st.integers(1, 7))
def test_any_bytes_become_valid_text_that_can_be_turned_back(data: bytes, size: int) -> None:
    stream = RepairedStream(io.BytesIO(data))
    parts = []
    while part := stream.read(size):
        assert len(part) <= size
        parts.append(part)
    text = b"".join(parts).decode("utf-8")
    assert unmarked(text) == data.decode("utf-8", "backslashreplace")
    assert stream.marks == (text != data.decode("utf-8", "replace"))


def test_reading_all_at_once_gives_all() -> None:
    assert RepairedStream(io.BytesIO("鞋".encode() * 9)).read() == "鞋".encode() * 9


def test_only_rows_with_marks_are_rejected() -> None:
    marked = RepairedStream(io.BytesIO(b"b\xff")).read().decode()
    frame = pl.DataFrame({"id": ["1", "2", None], "text": ["鞋", marked, None]})
    good, rejects = without_marked(frame)
    assert good.rows() == [("1", "鞋"), (None, None)]
    assert rejects == [("not_utf8", "2,b\\xff")]
