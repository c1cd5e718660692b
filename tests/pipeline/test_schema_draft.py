from google.protobuf import text_format

from components.schema_gate import gate
from components.schema_gate.config import SchemaGateConfig
from components.schema_gate.findings import find
from pipeline.schema_draft import schema_of
from tests.components.schema_gate.conftest import item_values, search_values, statistics_of

STRICT = SchemaGateConfig(drift="error", new_features="error")


def shop(**profile):
    """Statistics of a shop whose users have the given profile columns instead of Souk's."""
    searches = [{**search_values(row), "profile_gender": [], **profile} for row in range(40)]
    for search in searches:
        if "profile_gender" not in profile:
            del search["profile_gender"]
    items = [item_values(row) for row in range(40)]
    return {"train": statistics_of(searches), "catalog": statistics_of(items)}


def test_the_drafted_schema_fits_its_data_and_survives_writing():
    statistics = shop(profile_shoe_size=["42"], profile_member=["gold"])
    drafted = schema_of(statistics)
    again = gate.parse_schema(text_format.MessageToString(drafted), "draft")
    assert again == drafted
    assert find(gate.validate(statistics, again, STRICT)) == []


def test_it_has_the_profile_columns_of_the_shop_and_no_others():
    drafted = schema_of(shop(profile_shoe_size=["42"]))
    assert [f.name for f in drafted.feature if f.name.startswith("profile_")] == ["profile_shoe_size"]
    found = find(gate.validate(shop(profile_zip=["1010"]), drafted, STRICT))
    assert ("train", "profile_zip") in {(f.split, f.feature) for f in found}


def test_a_feed_that_loses_an_optional_feature_is_noticed():
    drafted = schema_of(shop())
    lost = {**shop(), "catalog": statistics_of([{**item_values(row), "brand": []} for row in range(40)])}
    found = find(gate.validate(lost, drafted, STRICT))
    assert [(f.split, f.feature, f.is_error) for f in found] == [("catalog", "brand", True)]


def test_it_has_the_further_columns_and_how_complete_they_are():
    rows = [
        {**item_values(row), "text_about": ["soft"], "categorical_color": ["red", "blue"], "numeric_rating": []}
        for row in range(40)
    ]
    for row in rows[:10]:
        row["numeric_rating"] = [4.5]
    statistics = {**shop(), "catalog": statistics_of(rows)}
    drafted = schema_of(statistics)
    assert find(gate.validate(statistics, drafted, STRICT)) == []
    presence = {f.name: round(f.presence.min_fraction, 2) for f in drafted.feature if "_" in f.name}
    assert (presence["text_about"], presence["categorical_color"], presence["numeric_rating"]) == (0.8, 0.8, 0.2)
