from pathlib import Path

import polars as pl
import pytest

from marketplace.presets import preset, with_overrides
from marketplace.simulation import SimulationSummary, searches_per_day, simulate
from schema.features import EventType
from schema.settings import InputError

SHORT = ["days=6", "searches=400"]


def contents(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_only_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    settings = with_overrides(preset("tiny"), SHORT)
    simulate(settings, tmp_path / "one")
    simulate(settings, tmp_path / "two")
    simulate(settings.model_copy(update={"seed": 1}), tmp_path / "other")
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    one, other = contents(tmp_path / "one"), contents(tmp_path / "other")
    assert all(one[name] != other[name] for name in one)


def test_layout_is_daily_event_files_a_catalog_users_and_facts(
    tiny_shop: tuple[Path, SimulationSummary],
) -> None:
    directory, summary = tiny_shop
    names = sorted(contents(directory))
    days = [name for name in names if name.startswith("events/")]
    assert [name for name in names if name not in days] == ["catalog.jsonl.gz", "shop.json", "users.jsonl.gz"]
    assert days[0] == "events/day-2025-03-01.jsonl.gz"
    assert days[-1] == f"events/day-{summary.eval_start[:10]}.jsonl.gz"
    assert len(days) == summary.days == 45


def test_events_have_the_columns_of_the_data_contract(tiny_log: pl.DataFrame) -> None:
    columns = ["event_id", "timestamp", "request_id", "user_id", "event_type", "query", "item_id", "position"]
    assert tiny_log.columns[:8] == columns
    assert set(tiny_log["event_type"]) == set(EventType.ALL)
    assert tiny_log["timestamp"].str.contains(r"^2025-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$").all()
    searches = tiny_log.filter(pl.col("event_type") == EventType.SEARCH)
    others = tiny_log.filter(pl.col("event_type") != EventType.SEARCH)
    assert searches["query"].null_count() == 0
    assert (searches["query"].str.len_chars() > 0).all()
    assert searches["item_id"].null_count() == len(searches)
    assert others["item_id"].null_count() == 0


def test_summary_counts_what_is_in_the_files(
    tiny_shop: tuple[Path, SimulationSummary], tiny_log: pl.DataFrame, tiny_events: pl.DataFrame
) -> None:
    directory, summary = tiny_shop
    assert summary.rows_written == len(tiny_log)
    assert summary.items == len(pl.read_ndjson(directory / "catalog.jsonl.gz", infer_schema_length=None))
    assert summary.users == len(pl.read_ndjson(directory / "users.jsonl.gz", infer_schema_length=None))
    # Events that arrive after the last midnight are not in the log.
    assert 0.97 * summary.events < len(tiny_events) <= summary.events


def test_every_event_belongs_to_a_search_by_the_same_user(tiny_events: pl.DataFrame) -> None:
    searches = tiny_events.filter(pl.col("event_type") == EventType.SEARCH).select(
        "request_id", searcher="user_id", asked="time"
    )
    joined = tiny_events.join(searches, on="request_id", how="inner")
    assert len(joined) > 0.98 * len(tiny_events)
    assert (joined["user_id"] == joined["searcher"]).all()
    assert (joined["time"] >= joined["asked"]).all()


def test_a_positioned_click_has_an_impression_at_its_position(tiny_events: pl.DataFrame) -> None:
    key = ["request_id", "item_id"]
    shown = tiny_events.filter(pl.col("event_type") == EventType.IMPRESSION).select(*key, slot="position")
    clicks = tiny_events.filter(pl.col("event_type") == EventType.CLICK)
    joined = clicks.filter(pl.col("position").is_not_null()).join(shown, on=key, how="inner")
    assert (joined["position"] == joined["slot"]).all()
    assert clicks["position"].is_null().mean() > 0.05


def test_orders_follow_carts_and_carts_follow_clicks(tiny_events: pl.DataFrame) -> None:
    pairs = {
        kind: set(tiny_events.filter(pl.col("event_type") == kind).select("request_id", "item_id").rows())
        for kind in (EventType.CLICK, EventType.ADD_TO_CART, EventType.ORDER)
    }
    late_losses = 0.05 * len(pairs[EventType.ADD_TO_CART])
    assert 0 < len(pairs[EventType.ORDER]) < len(pairs[EventType.ADD_TO_CART]) < len(pairs[EventType.CLICK])
    assert len(pairs[EventType.ADD_TO_CART] - pairs[EventType.CLICK]) <= late_losses
    assert len(pairs[EventType.ORDER] - pairs[EventType.ADD_TO_CART]) <= late_losses


def test_rates_of_duplicate_late_and_out_of_order_events_hold(tiny_log: pl.DataFrame) -> None:
    log = preset("tiny").log
    first = tiny_log["time"][0].replace(hour=0, minute=0, second=0, microsecond=0)
    repeats = 1 - tiny_log["event_id"].n_unique() / len(tiny_log)
    assert repeats == pytest.approx(log.duplicate_share, rel=0.3)
    once = tiny_log.unique("event_id", keep="first", maintain_order=True)
    own_day = (once["time"] - first).dt.total_days()
    assert (once["file"] >= own_day).all()
    assert (once["file"] - own_day >= 1).mean() == pytest.approx(log.late_share, rel=0.5)
    behind = once["time"] < once["time"].cum_max()
    same_day = once["file"] == own_day
    assert (behind & same_day).mean() == pytest.approx(log.out_of_order_share, rel=0.3)


def test_new_items_go_on_sale_daily_and_are_never_seen_before(
    tiny_shop: tuple[Path, SimulationSummary], tiny_events: pl.DataFrame
) -> None:
    catalog = pl.read_ndjson(tiny_shop[0] / "catalog.jsonl.gz", infer_schema_length=None)
    new = catalog.filter(pl.col("available_from").is_not_null())
    assert new["available_from"].n_unique() == 44
    seen = tiny_events.filter(pl.col("item_id").is_not_null()).join(new, on="item_id")
    assert len(seen) > 100
    assert (seen["timestamp"].str.slice(0, 10) >= seen["available_from"]).all()


def test_impressions_thin_out_down_the_page(tiny_events: pl.DataFrame) -> None:
    shown = tiny_events.filter(pl.col("event_type") == EventType.IMPRESSION)["position"].value_counts().sort("position")
    counts = shown["count"].to_list()
    assert counts == sorted(counts, reverse=True)
    # Faster than people stop looking, because some pages are short.
    assert 0.15 < counts[5] / counts[0] < preset("tiny").behavior.look_further ** 5


def test_traffic_grows_and_sums_to_the_wanted_searches() -> None:
    settings = preset("demo")
    expected = searches_per_day(settings)
    assert expected.sum() == pytest.approx(settings.searches)
    assert expected[42] / expected[0] == pytest.approx((1 + settings.daily_growth) ** 42)


def test_a_day_without_a_search_is_an_empty_file(tmp_path: Path) -> None:
    summary = simulate(with_overrides(preset("tiny"), ["searches=10", "days=40"]), tmp_path / "quiet")
    assert len(list((tmp_path / "quiet" / "events").iterdir())) == 40
    assert 0 < summary.searches < 40


def test_an_interrupted_simulation_leaves_only_the_earlier_one(tmp_path: Path) -> None:
    settings = with_overrides(preset("tiny"), SHORT)
    simulate(settings, tmp_path / "shop")
    before = contents(tmp_path / "shop")

    def interrupt(done: int, days: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate(settings.model_copy(update={"seed": 5}), tmp_path / "shop", interrupt)
    assert contents(tmp_path / "shop") == before
    assert [path.name for path in tmp_path.iterdir()] == ["shop"]


def test_a_foreign_directory_is_refused_unless_forced(tmp_path: Path) -> None:
    settings = with_overrides(preset("tiny"), SHORT)
    target = tmp_path / "mine"
    target.mkdir()
    (target / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match=r"thesis\.txt.*--force"):
        simulate(settings, target)
    assert (target / "thesis.txt").read_text() == "years of work"
    simulate(settings, target, force=True)
    assert (target / "shop.json").is_file()
    assert not (target / "thesis.txt").exists()
    (target / "note.txt").write_text("mine")
    with pytest.raises(InputError, match=r"note\.txt"):
        simulate(settings, target)


def test_a_file_as_output_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is a file"):
        simulate(preset("tiny"), tmp_path / "file")
