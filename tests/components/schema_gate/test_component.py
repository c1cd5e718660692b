import shutil

import pytest
from tfx.types import artifact_utils, standard_artifacts

from components.schema_gate import component, gate
from components.schema_gate.config import DEFAULT_SCHEMA, SchemaGateConfig
from components.schema_gate.findings import find, read_anomalies, refused_directory
from evaluation import ledger
from schema.settings import DataError


@pytest.fixture
def artifacts(tmp_path, make_statistics):
    def prepare(**changed):
        statistics = standard_artifacts.ExampleStatistics()
        statistics.uri = str(tmp_path / "StatisticsGen" / "statistics" / "1")
        made = make_statistics(**changed)
        statistics.split_names = artifact_utils.encode_split_names(list(made))
        for split, proto in made.items():
            directory = tmp_path / "StatisticsGen" / "statistics" / "1" / f"Split-{split}"
            directory.mkdir(parents=True)
            (directory / "FeatureStats.pb").write_bytes(proto.SerializeToString())
        schema, anomalies = standard_artifacts.Schema(), standard_artifacts.ExampleAnomalies()
        schema.uri = str(tmp_path / "SchemaGate" / "schema" / "2")
        anomalies.uri = str(tmp_path / "SchemaGate" / "anomalies" / "2")
        return statistics, schema, anomalies

    return prepare


def run(statistics, schema, anomalies, **given):
    component.SchemaGate.test_call(
        statistics=statistics,
        schema=schema,
        anomalies=anomalies,
        schema_text=gate.read_schema(DEFAULT_SCHEMA),
        config_json=SchemaGateConfig().to_json(),
        **given,
    )


def test_good_data_passes_with_the_schema_and_blessed_anomalies(artifacts, tmp_path):
    statistics, schema, anomalies = artifacts()
    run(statistics, schema, anomalies)
    written = (tmp_path / "SchemaGate/schema/2/schema.pbtxt").read_text()
    assert written == gate.read_schema(DEFAULT_SCHEMA)
    assert anomalies.get_json_value_custom_property("blessed") == {"train": 1, "eval": 1, "catalog": 1}
    assert set(read_anomalies(anomalies.uri)) == {"train", "eval", "catalog"}


def test_bad_data_stops_the_run_and_its_anomalies_are_kept(artifacts):
    statistics, schema, anomalies = artifacts(eval={"stages": [1, 9]})
    with pytest.raises(DataError, match=r"eval stages: Unexpectedly large value: 9"):
        run(statistics, schema, anomalies)
    kept = read_anomalies(refused_directory(anomalies.uri))
    assert [(f.split, f.feature) for f in find(kept)] == [("eval", "stages")]
    assert anomalies.get_json_value_custom_property("blessed") == {"train": 1, "eval": 0, "catalog": 1}


def test_the_ledger_gets_passing_data_and_gives_the_baseline(artifacts, tmp_path, monkeypatch):
    compared_with = []
    validate = gate.validate

    def watched(statistics, schema, config, baseline):
        compared_with.append(baseline and sorted(baseline))
        return validate(statistics, schema, config, baseline)

    monkeypatch.setattr(component.gate, "validate", watched)
    book = str(tmp_path / "ledger")
    statistics, schema, anomalies = artifacts()
    run(statistics, schema, anomalies, ledger=book)
    found = ledger.latest(book, ledger.STATISTICS, standard_artifacts.ExampleStatistics)
    assert (found.uri, found.split_names) == (statistics.uri, statistics.split_names)
    # Its own are no baseline for a step that is tried again.
    run(statistics, schema, anomalies, ledger=book)
    later = standard_artifacts.ExampleStatistics()
    later.uri = str(tmp_path / "later")
    later.split_names = statistics.split_names
    shutil.copytree(statistics.uri, later.uri)
    run(later, schema, anomalies, ledger=book)
    assert compared_with == [None, None, ["catalog", "eval", "train"]]


def test_data_that_is_refused_does_not_enter_the_ledger(artifacts, tmp_path):
    with pytest.raises(DataError):
        run(*artifacts(eval={"stages": [1, 9]}), ledger=str(tmp_path / "ledger"))
    assert not (tmp_path / "ledger").exists()
