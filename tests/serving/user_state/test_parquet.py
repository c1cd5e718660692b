import polars as pl
import pytest

from schema.settings import InputError
from serving.user_state.parquet import read_behavior
from souk_client.examples import Behavior

STATES = pl.DataFrame(
    {
        "user_id": ["u1", "u2"],
        "history_queries": [["shoes", "跑步鞋"], []],
        "real_time_items": [["i1"], []],
        "short_term_items": [["i2", "i3"], None],
        "long_term_clicks": [["i4"], []],
        "long_term_orders": [["i5"], []],
        "long_term_carts": [["i6"], []],
        "profile_gender": ["f", None],
        "profile_age": [30, 40],
    }
)


@pytest.fixture
def path(tmp_path):
    STATES.write_parquet(tmp_path / "user_state.parquet")
    return tmp_path / "user_state.parquet"


def test_a_users_row_becomes_their_behavior(path):
    assert read_behavior(path, "u1") == Behavior(
        history_queries=("shoes", "跑步鞋"),
        real_time_items=("i1",),
        short_term_items=("i2", "i3"),
        long_term_clicks=("i4",),
        long_term_orders=("i5",),
        long_term_carts=("i6",),
        profile={"gender": "f", "age": "30"},
    )


def test_what_a_row_does_not_say_is_empty(path):
    assert read_behavior(path, "u2") == Behavior(profile={"age": "40"})


def test_a_user_never_seen_is_none(path):
    assert read_behavior(path, "u3") is None


def test_a_column_that_is_not_there_counts_as_empty(tmp_path):
    STATES.select("user_id", "history_queries").write_parquet(tmp_path / "few.parquet")
    assert read_behavior(tmp_path / "few.parquet", "u1") == Behavior(history_queries=("shoes", "跑步鞋"))


def test_a_file_that_is_no_user_state_is_explained(tmp_path):
    with pytest.raises(InputError, match="There is no user state file"):
        read_behavior(tmp_path / "missing.parquet", "u1")
    (tmp_path / "text.parquet").write_text("user_id\nu1\n")
    with pytest.raises(InputError, match="cannot be read as a Parquet user state file"):
        read_behavior(tmp_path / "text.parquet", "u1")
    STATES.select(pl.col("user_id").alias("user")).write_parquet(tmp_path / "other.parquet")
    with pytest.raises(InputError, match=r"has no column `user_id` \(it has: user\)"):
        read_behavior(tmp_path / "other.parquet", "u1")
