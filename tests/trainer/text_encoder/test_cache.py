"""The cache of terms' vectors, shared by runs and processes."""

import dataclasses
import io

import numpy as np
import pytest

from tests.trainer.text_encoder import tiny_encoders
from trainer.text_encoder import cache, load_encoder, term_vectors
from trainer.text_encoder.cache import encode_terms

TERMS = ["red", "blue", "shoe", "tea", "line\nbreak", "π", ""]


@pytest.fixture
def encoder(tmp_path):
    """An encoder, whose `rows` count the texts that it encoded."""
    tiny_encoders.write_bert(tmp_path / "encoder")
    return counting(load_encoder(str(tmp_path / "encoder")))


def counting(encoder):
    rows = []

    def forward(ids, mask):
        rows.append(len(ids))
        return encoder.forward(ids, mask)

    counted = dataclasses.replace(encoder, forward=forward)
    object.__setattr__(counted, "rows", rows)
    return counted


def only_file(folder):
    (file,) = folder.iterdir()
    return file


@pytest.mark.parametrize("folder", ["{}/made/of/need", "ram://{}/cache"])
def test_terms_are_encoded_once(folder, encoder, tmp_path):
    folder = folder.format(tmp_path)
    first = encode_terms(encoder, TERMS, folder)
    np.testing.assert_array_equal(first, encoder.encode(TERMS))
    encoder.rows.clear()
    np.testing.assert_array_equal(encode_terms(encoder, TERMS[::-1], folder), first[::-1])
    assert encoder.rows == []


def test_only_new_terms_are_encoded_and_old_ones_kept(encoder, tmp_path):
    encode_terms(encoder, TERMS, str(tmp_path / "cache"))
    encoder.rows.clear()
    encode_terms(encoder, ["pot", "tea"], str(tmp_path / "cache"))
    encode_terms(encoder, [*TERMS, "pot"], str(tmp_path / "cache"))
    assert encoder.rows == [1]


def test_without_a_folder_nothing_is_kept(encoder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    np.testing.assert_array_equal(encode_terms(encoder, TERMS), encoder.encode(TERMS))
    assert sorted(tmp_path.rglob("*")) == before


def test_another_encoder_has_a_cache_of_its_own(encoder, tmp_path):
    encode_terms(encoder, TERMS, str(tmp_path / "cache"))
    tiny_encoders.write_modules(tmp_path / "encoder", normalize=True)
    other = load_encoder(str(tmp_path / "encoder"))
    np.testing.assert_array_equal(encode_terms(other, TERMS, str(tmp_path / "cache")), other.encode(TERMS))
    assert len(list((tmp_path / "cache").iterdir())) == 2


def _of_another_width(content):
    return _stored(b'["red"]', np.zeros((1, 3), np.float32))


def _of_fewer_vectors(content):
    return _stored(b'["red", "tea"]', np.zeros((1, 8), np.float32))


def _of_numbers(content):
    return _stored(b"7", np.zeros((1, 8), np.float32))


def _not_finite(content):
    return _stored(b'["red"]', np.full((1, 8), np.nan, np.float32))


def _stored(terms, vectors):
    file = io.BytesIO()
    np.savez(file, terms=np.frombuffer(terms, np.uint8), vectors=vectors)
    return file.getvalue()


def _flipped(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :]


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[: len(content) // 2],
        lambda content: b"not a cache",
        _flipped,
        _of_another_width,
        _of_fewer_vectors,
        _of_numbers,
        _not_finite,
    ],
)
def test_a_corrupt_cache_is_encoded_anew_with_a_warning(damage, encoder, tmp_path, caplog):
    expected = encode_terms(encoder, TERMS, str(tmp_path / "cache"))
    file = only_file(tmp_path / "cache")
    file.write_bytes(damage(file.read_bytes()))
    np.testing.assert_array_equal(encode_terms(encoder, TERMS, str(tmp_path / "cache")), expected)
    assert f"The cache {file} cannot be read" in caplog.text
    encoder.rows.clear()
    encode_terms(encoder, TERMS, str(tmp_path / "cache"))
    assert encoder.rows == []


def test_a_cache_that_cannot_be_written_is_a_warning(encoder, tmp_path, caplog):
    (tmp_path / "file").write_text("")
    found = encode_terms(encoder, TERMS, str(tmp_path / "file" / "cache"))
    np.testing.assert_array_equal(found, encoder.encode(TERMS))
    assert "cannot be written" in caplog.text


def test_what_another_process_wrote_meanwhile_is_kept(encoder, tmp_path):
    folder = str(tmp_path / "cache")

    def forward(ids, mask):
        encode_terms(encoder, ["pot", "ssd"], folder)
        return encoder.forward(ids, mask)

    encode_terms(dataclasses.replace(encoder, forward=forward), TERMS, folder)
    encoder.rows.clear()
    encode_terms(encoder, [*TERMS, "pot", "ssd"], folder)
    assert encoder.rows == []


def test_a_cache_forgets_what_is_asked_for_no_more(encoder, tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "_KEPT", 3)
    folder = str(tmp_path / "cache")
    encode_terms(encoder, ["red", "blue", "shoe"], folder)
    encode_terms(encoder, ["tea", "pot"], folder)
    encoder.rows.clear()
    encode_terms(encoder, ["red", "tea", "pot"], folder)
    assert encoder.rows == []
    encode_terms(encoder, ["shoe"], folder)
    assert encoder.rows == [1]


def test_a_large_vocabulary_logs_how_far_it_is(encoder, monkeypatch, caplog):
    monkeypatch.setattr(cache, "_LOGGED", 2)
    with caplog.at_level("INFO", logger="absl"):
        encode_terms(encoder, ["red", "blue", "shoe", "tea", "pot"])
    assert "2 of 5 terms encoded" in caplog.text
    assert "5 of 5 terms encoded" in caplog.text


def test_cached_terms_are_reduced_to_the_same_vectors(encoder, tmp_path):
    fresh = term_vectors(encoder, TERMS, 4)
    for _ in range(2):
        np.testing.assert_array_equal(term_vectors(encoder, TERMS, 4, cache_dir=str(tmp_path / "cache")), fresh)
