from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.server.versions import Latest, VersionFolder, choose, scan


def make(base: Path, name: str, complete: bool = True) -> Path:
    (base / name).mkdir()
    if complete:
        (base / name / "saved_model.pb").write_bytes(b"model")
    return base / name


def test_versions_come_oldest_first_by_number_not_by_name(tmp_path):
    for name in ("9", "10", "1763690000"):
        make(tmp_path, name)
    assert [folder.number for folder in scan(tmp_path)] == [9, 10, 1763690000]


@pytest.mark.parametrize("name", ["v1", "1.tmp", "-1", "1e3", "½", "٣", "tmp-7", str(2**63)])
def test_a_folder_that_is_not_named_by_a_number_is_passed_over(tmp_path, name):
    make(tmp_path, name)
    assert scan(tmp_path) == []


def test_a_file_named_by_a_number_is_passed_over(tmp_path):
    (tmp_path / "7").write_text("")
    assert scan(tmp_path) == []


def test_two_spellings_of_a_number_are_one_version(tmp_path):
    make(tmp_path, "007")
    make(tmp_path, "7")
    assert [(folder.number, folder.path.name) for folder in scan(tmp_path)] == [(7, "7")]


def test_a_version_is_complete_once_its_saved_model_is_there(tmp_path):
    path = make(tmp_path, "4", complete=False)
    assert [folder.complete for folder in scan(tmp_path)] == [False]
    (path / "saved_model.pb").write_bytes(b"model")
    assert [folder.complete for folder in scan(tmp_path)] == [True]


def test_a_link_to_a_version_is_a_version(tmp_path):
    target = make(tmp_path, "elsewhere")
    (tmp_path / "5").symlink_to(target)
    assert [(folder.number, folder.complete) for folder in scan(tmp_path)] == [(5, True)]


def test_writing_the_saved_model_anew_changes_its_stamp(tmp_path):
    path = make(tmp_path, "4")
    before = scan(tmp_path)[0].stamp
    (path / "saved_model.pb").write_bytes(b"another model")
    assert scan(tmp_path)[0].stamp != before


def test_a_missing_folder_is_an_error_not_an_empty_one(tmp_path):
    with pytest.raises(OSError, match="missing"):
        scan(tmp_path / "missing")


@given(st.dictionaries(st.integers(0, 99), st.booleans()), st.integers(1, 5))
def test_newest_takes_the_largest_complete_numbers(complete, count):
    folders = [VersionFolder(number, Path(str(number)), (1, 1) if done else None) for number, done in complete.items()]
    expected = sorted((number for number, done in complete.items() if done), reverse=True)[:count]
    assert [folder.number for folder in choose(folders, Latest(count))] == expected
