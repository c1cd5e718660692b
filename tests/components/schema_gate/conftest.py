from collections.abc import Callable
from typing import Any

import pytest
import tensorflow as tf
from tensorflow_data_validation.statistics import stats_impl, stats_options
from tensorflow_metadata.proto.v0 import statistics_pb2
from tfx_bsl.coders.example_coder import ExamplesToRecordBatchDecoder

from components.schema_gate.gate import Statistics

Values = dict[str, list[Any]]


def search_values(row: int) -> Values:
    return {
        "request_id": [f"r{row}"],
        "user_id": [f"u{row % 7}"],
        "timestamp_ms": [1_700_000_000_000 + row],
        "query": ["red shoes"],
        "real_time_items": [f"i{row}"] * (row % 3),
        "items": ["i1", "i2"],
        "stages": [1 + row % 3, 1],
        "positions": [1, 2],
        "profile_gender": ["f" if row % 2 else "m"],
    }


def item_values(row: int) -> Values:
    return {
        "item_id": [f"i{row}"],
        "title": ["running shoe"],
        "brand": [f"b{row % 3}"] if row % 4 else [],
        "category_path": ["shoes", "running"],
        "price": [10.0 + row % 20],
    }


def statistics_of(rows: list[Values]) -> Statistics:
    if not rows:
        return Statistics(datasets=[statistics_pb2.DatasetFeatureStatistics(num_examples=0)])
    serialized = []
    for row in rows:
        example = tf.train.Example()
        for name, values in row.items():
            feature = example.features.feature[name]
            for value in values:
                if isinstance(value, str):
                    feature.bytes_list.value.append(value.encode())
                elif isinstance(value, int):
                    feature.int64_list.value.append(value)
                else:
                    feature.float_list.value.append(value)
        serialized.append(example.SerializeToString())
    batch = ExamplesToRecordBatchDecoder().DecodeBatch(serialized)
    return stats_impl.generate_statistics_in_memory(batch, stats_options.StatsOptions())


@pytest.fixture(scope="session")
def make_statistics() -> Callable[..., dict[str, Statistics]]:
    """Statistics of 40 good examples per split; `split={"feature": values}` changes each of a split."""

    def make(**changed: Values) -> dict[str, Statistics]:
        rows = {
            "train": [search_values(row) for row in range(40)],
            "eval": [search_values(row) for row in range(40)],
            "catalog": [item_values(row) for row in range(40)],
        }
        return {
            split: statistics_of([{**row, **changed.get(split, {})} for row in split_rows])
            for split, split_rows in rows.items()
        }

    return make
