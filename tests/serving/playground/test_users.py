import polars as pl
import pytest

from schema.settings import InputError
from serving.playground.users import Users
from souk_client.examples import Behavior
from tests.serving.playground.conftest import EVIL, item_id


def test_users_sort_by_exact_match_then_prefix_then_history(shop):
    users = Users(shop.user_state)
    assert users.find("ANNA", 9) == [
        {"user": "anna", "items": 5, "queries": 2},
        {"user": "annabel", "items": 0, "queries": 0},
        {"user": "joanna", "items": 1, "queries": 1},
    ]
    assert [found["user"] for found in users.find("", 2)] == ["anna", "joanna"]
    assert [found["user"] for found in users.find("<img", 9)] == [EVIL]
    assert users.find("a.*", 9) == []
    assert users.count() == 4


def test_the_behavior_of_a_user_is_read(shop):
    users = Users(shop.user_state)
    assert users.behavior("anna") == Behavior(
        history_queries=("black lamp", "crème kettle"),
        real_time_items=(item_id("black lamp"),),
        long_term_clicks=(item_id("blue kettle"), item_id("red shirt")),
        long_term_orders=(item_id("red shirt"), "gone"),
        profile={"gender": "f"},
    )
    assert users.behavior("nobody") is None


def test_frequent_queries_come_most_frequent_first(tmp_path):
    path = tmp_path / "user_state.parquet"
    pl.DataFrame({"user_id": ["a", "b", "c"], "history_queries": [["x", "y"], ["y"], []]}).write_parquet(path)
    assert Users(path).frequent_queries(5) == ["y", "x"]


def test_a_file_of_users_alone_will_do(tmp_path):
    path = tmp_path / "user_state.parquet"
    pl.DataFrame({"user_id": ["a"]}).write_parquet(path)
    users = Users(path)
    assert users.find("a", 5) == [{"user": "a", "items": 0, "queries": 0}]
    assert users.frequent_queries(5) == []


def test_a_shop_without_users_has_none():
    users = Users(None)
    assert (users.known, users.count(), users.find("a", 5), users.behavior("a")) == (False, 0, [], None)
    assert users.frequent_queries(5) == []


def test_a_file_that_is_missing_or_of_something_else_is_told_of(tmp_path):
    with pytest.raises(InputError, match="no user state file"):
        Users(tmp_path / "user_state.parquet")
    other, broken = tmp_path / "other.parquet", tmp_path / "broken.parquet"
    pl.DataFrame({"item_id": ["a"]}).write_parquet(other)
    broken.write_text("no Parquet")
    for path, message in ((other, "no column `user_id`"), (broken, "cannot be read")):
        with pytest.raises(InputError, match=message):
            Users(path).find("", 5)
    with pytest.raises(InputError, match="cannot be read"):
        Users(broken).frequent_queries(5)
