"""The other way to write ingestion, for `benchmarks/ingest.py` to measure against: a Beam job that works row by row.

It is what one writes first, with some care: parse each line, group by request, group by user, walk a user's events
with bisection, build each tf.Example from Python values. It reads JSON lines in Souk's columns and gives the same
examples as `components.example_gen` on a log whose rows are all usable.
"""

import argparse
import bisect
import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

import apache_beam as beam
import tensorflow as tf
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.options.pipeline_options import PipelineOptions

HOUR = 3_600_000
DAY = 24 * HOUR
REAL_TIME, SHORT_TERM, LONG_TERM = DAY, 11 * DAY, 41 * DAY
STAGES = {"impression": 1, "click": 2, "add_to_cart": 2, "order": 3}

Row = dict[str, Any]


def parse_event(line: str) -> Row:
    row: Row = json.loads(line)
    row["time"] = int(datetime.fromisoformat(row["timestamp"]).timestamp() * 1000 + 0.5)
    return row


def join_request(group: tuple[str, Iterable[Row]], items: frozenset[str], eval_start: int) -> Iterator[tuple[str, Any]]:
    """One request, keyed by its user, and what the user did with its items."""
    request_id, rows = group
    events = sorted({row["event_id"]: row for row in rows}.values(), key=lambda row: (row["time"], row["event_id"]))
    head = next((row for row in events if row["event_type"] == "search"), None)
    labels: dict[str, list[int]] = {}
    for row in events:
        kind, item = row["event_type"], row["item_id"]
        if kind == "search" or item not in items:
            continue
        time = row["time"]
        if head is not None:
            time = max(time, head["time"])
            if not head["time"] < eval_start <= time:
                label = labels.setdefault(item, [0, 0])
                label[0] = max(label[0], STAGES[kind])
                if row["position"]:
                    label[1] = min(label[1] or row["position"], row["position"])
        if kind != "impression":
            yield row["user_id"], ("did", (time, row["event_id"], kind, item))
    if head is not None:
        found = sorted(labels.items(), key=lambda pair: (pair[1][1] or float("inf"), pair[0]))
        request = (
            head["time"],
            request_id,
            head["query"],
            [item for item, _ in found],
            [stage for _, (stage, _) in found],
            [position for _, (_, position) in found],
        )
        yield head["user_id"], ("asked", request)


def user_examples(
    group: tuple[str, Iterable[tuple[str, Any]]], profiles: dict[str, Row], columns: tuple[str, ...], eval_start: int
) -> Iterator[Any]:
    """The serialized examples of one user, tagged with their split."""
    user, rows = group
    asked: list[Any] = []
    did: list[Any] = []
    for kind, row in rows:
        (asked if kind == "asked" else did).append(row)
    asked.sort()
    did.sort()
    by_kind = {kind: [row for row in did if row[2] == kind] for kind in ("click", "order", "add_to_cart")}
    queries = [(row[0], row[1], "", row[2]) for row in asked]
    profile = profiles.get(user, {})
    for time, request_id, query, items, stages, positions in asked:
        features = {
            "request_id": [request_id],
            "user_id": [user],
            "query": [query],
            "history_queries": window(queries, time - LONG_TERM, time, 10),
            "real_time_items": window(did, time - REAL_TIME, time, 50),
            "short_term_items": window(did, time - SHORT_TERM, time - REAL_TIME, 100),
            "long_term_clicks": window(by_kind["click"], time - LONG_TERM, time - SHORT_TERM, 100),
            "long_term_orders": window(by_kind["order"], time - LONG_TERM, time - SHORT_TERM, 100),
            "long_term_carts": window(by_kind["add_to_cart"], time - LONG_TERM, time - SHORT_TERM, 100),
            "items": items,
            **{f"profile_{name}": [profile[name]] if profile.get(name) else [] for name in columns},
        }
        example = tf.train.Example()
        for name, values in features.items():
            example.features.feature[name].bytes_list.value.extend(value.encode() for value in values)
        for name, numbers in (("timestamp_ms", [time]), ("stages", stages), ("positions", positions)):
            example.features.feature[name].int64_list.value.extend(numbers)
        split = "train" if time < eval_start else "eval"
        yield beam.pvalue.TaggedOutput(split, example.SerializeToString())


def window(events: list[tuple[int, str, str, str]], since: int, until: int, cap: int) -> list[str]:
    """Distinct values of the events in [since, until), newest first."""
    found: dict[str, None] = {}
    for index in range(bisect.bisect_left(events, (until,)) - 1, bisect.bisect_left(events, (since,)) - 1, -1):
        found[events[index][3]] = None
        if len(found) == cap:
            break
    return list(found)


def item_example(row: Row) -> bytes:
    category = row["category"]
    features = {
        "item_id": [row["item_id"]],
        "title": [row["title"]],
        "brand": [row["brand"]] if row["brand"] else [],
        "shop": [row["shop"]] if row["shop"] else [],
        "category_path": category,
        "leaf_category": [" > ".join(category)] if category else [],
        "top_category": category[:1],
    }
    example = tf.train.Example()
    for name, values in features.items():
        example.features.feature[name].bytes_list.value.extend(value.encode() for value in values)
    prices = [] if row["price"] is None else [row["price"]]
    example.features.feature["price"].float_list.value.extend(prices)
    return example.SerializeToString()


def run(shop: str, out: str, columns: tuple[str, ...], beam_args: list[str]) -> None:
    with beam.Pipeline(options=PipelineOptions(["--runner=FnApiRunner", *beam_args])) as pipeline:
        events = (
            pipeline
            | "ReadEvents" >> beam.io.ReadFromText(f"{shop}/events/*.jsonl*")
            | "ParseEvents" >> beam.Map(parse_event)
        )
        catalog = (
            pipeline
            | "ReadCatalog" >> beam.io.ReadFromText(f"{shop}/catalog.jsonl*")
            | "ParseItems" >> beam.Map(json.loads)
            | "KeyItems" >> beam.Map(lambda row: (row["item_id"], row))
            | "GroupItems" >> beam.GroupByKey()
            | "FirstItem" >> beam.Map(lambda pair: next(iter(pair[1])))
        )
        profiles = (
            pipeline
            | "ReadUsers" >> beam.io.ReadFromText(f"{shop}/users.jsonl*")
            | "ParseUsers" >> beam.Map(json.loads)
            | "KeyUsers" >> beam.Map(lambda row: (row["user_id"], row))
        )
        item_ids = (
            catalog | "ItemIds" >> beam.Map(lambda row: row["item_id"]) | beam.combiners.ToList() | beam.Map(frozenset)
        )
        eval_start = (
            events
            | "Searches" >> beam.Filter(lambda row: row["event_type"] == "search")
            | "Times" >> beam.Map(lambda row: row["time"])
            | "LastTime" >> beam.CombineGlobally(max)
            | "EvalStart" >> beam.Map(lambda last: last + 1 - DAY)
        )
        examples = (
            events
            | "ByRequest" >> beam.Map(lambda row: (row["request_id"], row))
            | "GroupRequests" >> beam.GroupByKey()
            | "Join"
            >> beam.FlatMap(join_request, beam.pvalue.AsSingleton(item_ids), beam.pvalue.AsSingleton(eval_start))
            | "GroupUsers" >> beam.GroupByKey()
            | "Examples"
            >> beam.FlatMap(
                user_examples, beam.pvalue.AsDict(profiles), columns, beam.pvalue.AsSingleton(eval_start)
            ).with_outputs("train", "eval")
        )
        for split, records in (
            ("train", examples.train),
            ("eval", examples.eval),
            ("catalog", catalog | "ItemExamples" >> beam.Map(item_example)),
        ):
            records | f"Write_{split}" >> beam.io.WriteToTFRecord(
                f"{out}/Split-{split}/data",
                file_name_suffix=".tfrecord.gz",
                compression_type=CompressionTypes.GZIP,
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shop")
    parser.add_argument("out")
    parser.add_argument("--columns", default="")
    known, beam_args = parser.parse_known_args()
    run(known.shop, known.out, tuple(filter(None, known.columns.split(","))), beam_args)
