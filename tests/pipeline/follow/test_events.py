"""What live events are read as."""

import json
import os
import threading

import pytest

from components.example_gen.ingest import run_ingest
from pipeline.follow.events import EventReader, Format
from pipeline.follow.fill import states_of
from pipeline.follow.sources import StandardInput
from schema.settings import InputError
from serving.user_state.parquet import read_behavior
from souk_client.redis_user_state import RedisUserState
from tests.components.example_gen.oracle import Event
from tests.components.example_gen.small_shop import make_shop, ubi_rows, write_shop
from tests.pipeline.follow.conftest import lines

SHOP = make_shop(40)


def _json(rows) -> list[bytes]:
    return [json.dumps(row).encode() for row in rows]


def test_a_shop_followed_as_ubi_and_as_souks_columns_has_the_same_states(make_follower, redis_url):
    """Documents of queries and of events come mixed, as from one index."""
    end = max(event.timestamp_ms for event in SHOP.log) + 1
    store, found = RedisUserState(redis_url), []
    queries, events = ubi_rows(SHOP.log)
    documents = _json(queries + [row for row in events if "index" not in row])
    for written in (documents[::-1], lines(SHOP.log)):
        follower = make_follower(items=SHOP.item_ids, clock=lambda: end)
        for first in range(0, len(written), 100):
            follower.take(written[first : first + 100], "test")
        found.append({f"u{n}": store.behavior(f"u{n}", end) for n in range(6)})
        follower.writer.client.flushall()
    assert found[0] == found[1]
    assert any(behavior is not None and behavior.long_term_clicks for behavior in found[0].values())


def test_a_store_filled_from_an_ingestion_gives_its_states(make_follower, redis_url, tmp_path):
    config = write_shop(tmp_path / "in", SHOP)
    summary = run_ingest(config, str(tmp_path / "out"))
    writer = make_follower(config.windows).writer
    assert writer.fill(states_of(tmp_path / "out", writer.windows)) == summary.counters["users.states"]
    store = RedisUserState(redis_url)
    for user in [*(f"u{n}" for n in range(8)), "nobody"]:
        expected = read_behavior(tmp_path / "out" / "user_state.parquet", user)
        assert store.behavior(user, summary.end_ms) == expected
    with pytest.raises(InputError, match="has user states already"):
        writer.fill(states_of(tmp_path / "out", writer.windows))
    writer.client.hset("souk:profile:u1", "region", "of another day")
    writer.fill(states_of(tmp_path / "out", writer.windows, profiles_only=True))
    assert store.behavior("u1", summary.end_ms) == read_behavior(tmp_path / "out" / "user_state.parquet", "u1")
    with pytest.raises(InputError, match=r"no ingestion\.json|no .*json that says"):
        next(iter(states_of(tmp_path / "in", writer.windows)))


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        ({"event_type": "click", "item_id": "i", "event_id": "e", "user_id": "u", "timestamp": 1}, "souk"),
        ({"action_name": "click", "query_id": "q", "timestamp": "2026-03-01T00:00:00Z"}, "ubi"),
        ({"user_query": "hat", "query_id": "q", "timestamp": "2026-03-01T00:00:00Z"}, "ubi"),
        ({"_source": {"action_name": "click"}}, "ubi"),
    ],
)
def test_the_format_is_that_of_the_first_event_that_tells(row, kind):
    reader = EventReader(Format(), "test")
    reader.read([b"not json", b'{"something": "else"}'])
    assert reader._kind is None
    reader.read(_json([row]))
    assert reader._kind == kind


def test_columns_have_the_names_of_the_configuration():
    reader = EventReader(Format(names={"event_type": "what", "item_id": "product.id"}), "test")
    row = {"event_id": "e", "user_id": "u", "timestamp": "2026-03-01T00:00:00Z", "what": "click"}
    found = reader.read(_json([{**row, "product": {"id": "i7"}}]))
    assert found.events["item_id"].to_list() == ["i7"]


def test_lines_of_a_pipe_come_whole_and_in_order():
    source, sink = os.pipe()
    written = lines([Event(f"e{n}", n, "r", "u", "click", None, f"i{n}", None) for n in range(2500)])

    def write() -> None:
        data = b"\n".join(written)
        for first in range(0, len(data), 7001):
            os.write(sink, data[first : first + 7001])
        os.close(sink)

    writing = threading.Thread(target=write)
    writing.start()
    reader, found = StandardInput(source, batch=1000), []
    while (batch := reader.poll()) is not None:
        assert len(batch.lines) <= 1000
        found += batch.lines
    writing.join()
    os.close(source)
    assert found == written
