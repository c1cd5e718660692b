from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from components.example_gen.partition import read_slices, stable_hash, write_partitions


def _oracle(text: str | None) -> int:
    total = 0
    for index, byte in enumerate((text or "").encode()):
        total += (byte + 1) * pow(0x100000001B3, index, 2**64)
    total %= 2**64
    total ^= total >> 33
    total = total * 0xFF51AFD7ED558CCD % 2**64
    return total ^ (total >> 29)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.one_of(st.none(), st.text(max_size=20)), max_size=20), st.integers(0, 3))
def test_the_hash_is_the_written_down_polynomial_of_each_text_alone(texts: list[str | None], skip: int) -> None:
    texts = [text and text.encode("utf-8", "ignore").decode() for text in texts]
    series = pl.Series(texts, dtype=pl.String)[skip:]
    assert stable_hash(series).tolist() == [_oracle(text) for text in texts[skip:]]


def test_numbered_users_spread_evenly() -> None:
    users = pl.Series([f"u{n:06d}" for n in range(20_000)])
    counts = Counter((stable_hash(users) % np.uint64(16)).tolist())
    assert min(counts.values()) > 1100
    assert max(counts.values()) < 1400


@settings(max_examples=25, deadline=None)
@given(
    rows=st.lists(st.tuples(st.sampled_from(["a", "b", "c", "é", None]), st.integers(0, 99)), max_size=40),
    keys=st.integers(1, 4),
)
def test_every_row_comes_back_under_its_key_in_its_order(tmp_path_factory, rows: list, keys: int) -> None:
    schema = pl.Schema({"who": pl.String(), "what": pl.Int64()})
    folder: Path = tmp_path_factory.mktemp("spill")
    slices: dict[int, list] = {}
    for part in range(2):
        frame = pl.DataFrame(rows[part::2], schema=schema, orient="row")
        for key, piece in write_partitions(frame, frame["who"], keys, str(folder / f"{part}.arrow")):
            slices.setdefault(key, []).append(piece)
    back = {key: read_slices(pieces[::-1], schema).rows() for key, pieces in slices.items()}
    expected: dict[int, list] = {}
    for row in rows[0::2] + rows[1::2]:
        expected.setdefault(_oracle(row[0]) % keys, []).append(row)
    assert back == expected
    assert all(piece.rows for pieces in slices.values() for piece in pieces)


def test_no_slices_are_no_rows_of_the_schema() -> None:
    schema = pl.Schema({"who": pl.String()})
    assert read_slices([], schema).schema == schema
