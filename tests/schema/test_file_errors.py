import errno
import os
import resource
import ssl
import traceback

import polars as pl
import pyarrow as pa
import pyarrow.parquet as arrow_parquet
import pytest
import tensorflow as tf
from apache_beam.io.filesystems import FileSystems

from schema.file_errors import StorageError, file_error, naming
from schema.settings import InputError

FULL = "No space left on device; free some space, or give a path on another disk"
MANY = pl.DataFrame({"number": range(100_000)})


def write(path) -> None:
    with open(path, "w") as file:
        file.write("x")


def write_with_tensorflow(path) -> None:
    with tf.io.gfile.GFile(path, "wb") as file:
        file.write(b"x")


def write_with_arrow(path) -> None:
    with open(path, "wb") as file:
        arrow_parquet.write_table(MANY.to_arrow(), file)


def caught(act, *given) -> Exception:
    try:
        act(*given)
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


@pytest.mark.parametrize(
    ("act", "path"),
    [
        (open, "{gone}"),
        (pl.read_parquet, "{gone}"),
        (pl.read_ndjson, "{gone}"),
        (pa.OSFile, "{gone}"),
        (arrow_parquet.read_table, "{gone}"),
        (FileSystems.open, "{gone}"),
        (write, "{gone}/x"),
        (FileSystems.mkdirs, "{file}/x"),
        (write_with_tensorflow, "{file}/x"),
        (write, "{folder}"),
    ],
)
def test_a_wrong_path_is_named_and_is_bad_input(tmp_path, act, path):
    (tmp_path / "file").touch()
    path = path.format(gone=tmp_path / "gone", file=tmp_path / "file", folder=tmp_path)
    found = file_error(caught(act, path))
    assert type(found) is InputError
    assert str(found).startswith(f"{path}: ")
    assert any(f": {os.strerror(code)}; " in str(found) for code in (errno.ENOENT, errno.ENOTDIR, errno.EISDIR))


@pytest.mark.parametrize(
    ("act", "names_it"),
    [(write, False), (write_with_arrow, False), (MANY.write_parquet, False), (write_with_tensorflow, True)],
)
def test_a_full_disk_is_no_fault_of_the_input(act, names_it):
    error = caught(act, "/dev/full")
    assert isinstance(file_error(error), StorageError)
    assert str(file_error(error, "out")) == f"{'/dev/full' if names_it else 'out'}: {FULL}"


def test_a_file_over_the_limit_is_told(tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        error = caught(MANY.write_ndjson, tmp_path / "rows.jsonl")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    found = file_error(error, "rows.jsonl")
    assert isinstance(found, StorageError)
    assert str(found).startswith("rows.jsonl: File too large; raise the limit on the size of files")


def test_an_error_within_the_text_of_a_worker_is_found():
    try:
        try:
            write("/dev/full")
        except OSError as error:
            raise RuntimeError(f"OSError: {error} [while running 'Write']") from error
    except RuntimeError:
        text = traceback.format_exc()
    assert str(file_error(RuntimeError(text), "out")) == f"out: {FULL}"
    denied = "Traceback (most recent call last):\n  x\nPermissionError: [Errno 13] Permission denied: '/a b/c' [while"
    assert str(file_error(RuntimeError(denied))).startswith("/a b/c: Permission denied; give this user")


def test_the_last_error_of_a_traceback_counts():
    text = "Traceback (most recent call last):\nOSError: [Errno 2] No such file: 'x'\n\nDuring handling\nKeyError: 'y'"
    assert file_error(RuntimeError(text)) is None


def test_an_error_raised_from_it_is_it_but_a_later_one_is_not():
    error = caught(write, "/dev/full")
    assert file_error(caught(_raise_from, KeyError("a"), error), "out") is not None
    assert file_error(caught(_raise_while, KeyError("a"), error), "out") is None


def _raise_from(error, cause):
    raise error from cause


def _raise_while(error, other):
    try:
        raise other
    except OSError:
        raise error  # noqa: B904


@pytest.mark.parametrize(
    "error",
    [
        KeyError("title"),
        BrokenPipeError(errno.EPIPE, "Broken pipe"),
        ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"),
        ssl.SSLError(1, "the certificate is not trusted"),
        OSError(),
    ],
)
def test_other_errors_are_left_as_they_are(error):
    assert file_error(error) is None
    with pytest.raises(type(error)), naming("out"):
        raise error


def test_metadata_that_cannot_be_kept_is_told():
    found = file_error(RuntimeError("Error when executing query: database or disk is full query: INSERT"), "root")
    assert str(found) == f"root: {FULL}"


def test_words_of_a_library_without_a_number_are_kept():
    found = file_error(OSError("SavedModel file does not exist at: models/1\nmore"))
    assert (type(found), str(found)) == (StorageError, "SavedModel file does not exist at: models/1")


def test_a_stand_in_file_is_named_as_the_one_it_becomes(tmp_path):
    out = tmp_path / "examples"
    with pytest.raises(InputError, match=rf"^{out}: Permission denied"), naming(out):
        raise PermissionError(errno.EACCES, "Permission denied", f"{out}.tmp-123")
    with pytest.raises(InputError, match=rf"^{tmp_path}/events: Permission denied"), naming(out):
        raise PermissionError(errno.EACCES, "Permission denied", f"{tmp_path}/events")
