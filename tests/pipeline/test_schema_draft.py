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


def test_the_drafted_schema_fits_its_own_data_and_survives_being_written():
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
