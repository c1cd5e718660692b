import itertools
import json

import pytest
from tfx.types import standard_artifacts

from evaluation import ledger


@pytest.fixture(autouse=True)
def _clock(monkeypatch):
    ticks = itertools.count(1_700_000_000_000_000_000, 1_000_000)
    monkeypatch.setattr(ledger.time, "time_ns", lambda: next(ticks))


def servable(folder, name) -> standard_artifacts.Model:
    made = standard_artifacts.Model()
    made.uri = str(folder / name)
    made.set_string_custom_property("model", name)
    made.set_json_value_custom_property("sizes", {"items": 3.0})
    (folder / name).mkdir(exist_ok=True)
    return made


def find(folder, other_than=""):
    return ledger.latest(str(folder / "ledger"), ledger.SERVABLES, standard_artifacts.Model, other_than)


def record(folder, *names):
    for name in names:
        ledger.record(str(folder / "ledger"), ledger.SERVABLES, servable(folder, name))


def test_an_empty_ledger_has_nothing(tmp_path):
    assert find(tmp_path) is None


def test_the_latest_is_found_with_its_properties(tmp_path):
    record(tmp_path, "first", "second")
    found = find(tmp_path)
    assert isinstance(found, standard_artifacts.Model)
    assert found.uri == str(tmp_path / "second")
    assert found.get_string_custom_property("model") == "second"
    assert found.get_json_value_custom_property("sizes") == {"items": 3.0}


def test_one_with_all_splits_precedes_a_later_one_without(tmp_path):
    for name, splits in (("run", ["train", "catalog"]), ("refresh", ["catalog"])):
        statistics = standard_artifacts.ExampleStatistics()
        statistics.uri = str(tmp_path / name)
        statistics.split_names = json.dumps(splits)
        (tmp_path / name).mkdir()
        ledger.record(str(tmp_path / "ledger"), ledger.STATISTICS, statistics)

    def latest(*splits):
        kind = standard_artifacts.ExampleStatistics
        return ledger.latest(str(tmp_path / "ledger"), ledger.STATISTICS, kind, splits=splits).uri

    assert latest("catalog") == str(tmp_path / "refresh")
    assert latest("catalog", "train") == str(tmp_path / "run")


def test_the_runs_own_is_left_out_however_often_it_was_recorded(tmp_path):
    record(tmp_path, "first", "second", "second")
    assert find(tmp_path, other_than=str(tmp_path / "second")).uri == str(tmp_path / "first")


def test_what_has_been_deleted_since_is_left_out(tmp_path):
    record(tmp_path, "first", "second")
    (tmp_path / "second").rmdir()
    assert find(tmp_path).uri == str(tmp_path / "first")


def test_kinds_are_apart(tmp_path):
    record(tmp_path, "first")
    assert ledger.latest(str(tmp_path / "ledger"), ledger.STATISTICS, standard_artifacts.ExampleStatistics) is None


def test_without_a_ledger_nothing_is_written_or_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ledger.record("", ledger.SERVABLES, servable(tmp_path, "first"))
    assert ledger.latest("", ledger.SERVABLES, standard_artifacts.Model) is None
    assert [path.name for path in tmp_path.iterdir()] == ["first"]
