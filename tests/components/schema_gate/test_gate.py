import pytest
from tensorflow_transform.tf_metadata import schema_utils

from components.schema_gate import gate
from components.schema_gate.columns import with_columns
from components.schema_gate.config import DEFAULT_SCHEMA, SchemaGateConfig
from components.schema_gate.findings import describe, find
from schema import features
from schema.settings import InputError
from tests.components.schema_gate.conftest import statistics_of

CONFIG = SchemaGateConfig()


@pytest.fixture(scope="module")
def schema():
    return gate.parse_schema(gate.read_schema(DEFAULT_SCHEMA), DEFAULT_SCHEMA)


def test_the_schema_knows_exactly_each_environments_features(schema):
    by_environment = {
        name: {feature.name for feature in schema.feature if name not in feature.not_in_environment}
        for name in schema.default_environment
    }
    profile = {features.profile_feature(c) for c in ("gender", "age_group", "purchasing_power", "region")}
    assert by_environment["SEARCH"] == ({*features.SEARCH_BYTES_FEATURES, *features.SEARCH_INT_FEATURES} | profile)
    catalog = {*features.CATALOG_BYTES_FEATURES, *features.CATALOG_FLOAT_FEATURES, features.AVAILABLE}
    assert by_environment["CATALOG"] == catalog


def test_transform_reads_each_feature_as_a_possibly_empty_list(schema):
    spec = schema_utils.schema_as_feature_spec(schema).feature_spec
    assert len(spec) == len(schema.feature)
    assert {type(feature).__name__ for feature in spec.values()} == {"VarLenFeature"}


def test_good_data_lacking_optional_features_has_no_finding(schema, make_statistics):
    statistics = make_statistics(catalog={"brand": [], "price": []}, train={"profile_gender": []})
    assert find(gate.validate(statistics, schema, CONFIG)) == []


@pytest.mark.parametrize(
    ("split", "feature", "values", "kind"),
    [
        ("train", "query", [], "FEATURE_TYPE_NOT_PRESENT"),
        ("train", "timestamp_ms", [0], "INT_TYPE_SMALL_INT"),
        ("train", "stages", [0, 1], "INT_TYPE_SMALL_INT"),
        ("eval", "stages", [1, 4], "INT_TYPE_BIG_INT"),
        ("train", "positions", [1, -1], "INT_TYPE_SMALL_INT"),
        ("train", "profile_shoe_size", ["42"], "SCHEMA_NEW_COLUMN"),
        ("eval", "title", ["a title"], "SCHEMA_NEW_COLUMN"),
        ("train", "profile_gender", ["f", "m"], "FEATURE_TYPE_HIGH_NUMBER_VALUES"),
        ("catalog", "title", [], "FEATURE_TYPE_NOT_PRESENT"),
        ("catalog", "title", [7], "UNEXPECTED_DATA_TYPE"),
        ("catalog", "price", [-1.0], "FLOAT_TYPE_SMALL_FLOAT"),
        ("catalog", "price", [float("nan")], "FLOAT_TYPE_HAS_NAN"),
        ("catalog", "query", ["red"], "SCHEMA_NEW_COLUMN"),
    ],
)
def test_an_anomaly_is_an_error_naming_its_split_and_feature(schema, make_statistics, split, feature, values, kind):
    found = find(gate.validate(make_statistics(**{split: {feature: values}}), schema, CONFIG))
    assert [(f.split, f.feature, f.is_error) for f in found] == [(split, feature, True)]
    assert kind in found[0].kind
    assert describe(found).startswith(f"error: {split} {feature}: ")


COLUMNS = ("text_description", "categorical_color", "numeric_rating")


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"text_description": ["soft"], "categorical_color": ["red", "blue"], "numeric_rating": [4.5]},
        {name: [] for name in COLUMNS},
    ],
)
def test_named_columns_of_the_catalog_may_be_there_or_not(make_statistics, values):
    schema = gate.parse_schema(with_columns(gate.read_schema(DEFAULT_SCHEMA), COLUMNS), "with columns")
    assert find(gate.validate(make_statistics(catalog=values), schema, CONFIG)) == []


@pytest.mark.parametrize(
    ("feature", "values"),
    [
        ("text_description", ["soft", "warm"]),
        ("categorical_color", [1]),
        ("numeric_rating", [float("nan")]),
        ("numeric_rating", ["4.5"]),
        ("text_other", ["not named"]),
    ],
)
def test_a_named_column_of_another_kind_is_an_error(make_statistics, feature, values):
    schema = gate.parse_schema(with_columns(gate.read_schema(DEFAULT_SCHEMA), COLUMNS), "with columns")
    found = find(gate.validate(make_statistics(catalog={feature: values}), schema, CONFIG))
    assert [(f.split, f.feature, f.is_error) for f in found] == [("catalog", feature, True)]


def test_a_column_that_the_schema_declares_stays_as_declared():
    text = gate.read_schema(DEFAULT_SCHEMA)
    assert with_columns(text, ["price"]) == with_columns(text, []) == text
    strict = text + 'feature { name: "text_description" type: BYTES presence { min_count: 1 } }\n'
    assert with_columns(strict, ["text_description"]) == strict


def test_a_split_without_examples_is_an_error(schema, make_statistics):
    statistics = {**make_statistics(), "eval": statistics_of([])}
    found = find(gate.validate(statistics, schema, CONFIG))
    assert found
    assert {f.split for f in found} == {"eval"}
    assert found[0].is_error


@pytest.mark.parametrize(("drift", "expected"), [("error", [True]), ("warning", [False]), ("off", [])])
def test_drift_since_the_last_good_run_is_as_severe_as_set(schema, make_statistics, drift, expected):
    now = make_statistics(train={"profile_gender": ["f"]}, eval={"profile_gender": ["f"]})
    config = SchemaGateConfig(drift=drift)
    found = find(gate.validate(now, schema, config, baseline=make_statistics()))
    assert [f.is_error for f in found if f.feature == "profile_gender"] == expected
    assert {f.split for f in found} <= {"train"}


def test_no_drift_from_equal_data(schema, make_statistics):
    config = SchemaGateConfig(drift="error")
    assert find(gate.validate(make_statistics(), schema, config, make_statistics())) == []


def test_an_error_stays_one_where_its_feature_also_drifted(schema, make_statistics):
    now = make_statistics(catalog={"price": [-1.0]})
    found = find(gate.validate(now, schema, CONFIG, make_statistics()))
    assert [(f.feature, f.is_error) for f in found] == [("price", True)]
    assert "JENSEN_SHANNON" in found[0].kind


def test_new_features_can_be_made_a_warning(schema, make_statistics):
    statistics = make_statistics(train={"profile_shoe_size": ["42"]})
    found = find(gate.validate(statistics, schema, SchemaGateConfig(new_features="warning")))
    assert [(f.feature, f.is_error) for f in found] == [("profile_shoe_size", False)]


def test_errors_come_before_warnings(schema, make_statistics):
    now = make_statistics(train={"profile_gender": ["f"], "query": []})
    found = find(gate.validate(now, schema, CONFIG, make_statistics()))
    assert [f.is_error for f in found] == sorted((f.is_error for f in found), reverse=True)
    assert {f.is_error for f in found} == {True, False}


def test_a_missing_schema_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"absent\.pbtxt cannot be read.*souk schema"):
        gate.read_schema(str(tmp_path / "absent.pbtxt"))


def test_a_file_that_is_no_schema_is_refused_with_the_line(tmp_path):
    path = tmp_path / "broken.pbtxt"
    path.write_text('feature { name: "query" typo: BYTES }')
    with pytest.raises(InputError, match=r"broken\.pbtxt is not a TFDV schema.*typo"):
        gate.read_schema(str(path))


def test_a_schema_without_environments_is_told_the_lines_to_add(tmp_path):
    path = tmp_path / "plain.pbtxt"
    path.write_text('default_environment: "SEARCH"')
    with pytest.raises(InputError, match='CATALOG; add the line default_environment: "CATALOG"'):
        gate.read_schema(str(path))
