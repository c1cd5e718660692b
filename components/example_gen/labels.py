"""Labels: the requests that led to a click, a cart or an order, without which no model is trained or measured."""

from collections.abc import Mapping
from typing import Final

import polars as pl

from components.example_gen.times import TimeSplits
from components.example_gen.validate import CLICKED
from schema import features
from schema.settings import DataError

_PURPOSES: Final = {features.TRAIN_SPLIT: "learn from", features.EVAL_SPLIT: "measure a model by"}


def with_click(requests: pl.DataFrame, splits: TimeSplits) -> dict[str, int]:
    """Counters of the requests (schema `columns.REQUESTS`) of each split that led to a click, a cart or an order."""
    times = requests.filter(pl.col("stages").list.max() >= int(features.Stage.CLICKED))["timestamp_ms"]
    starts = {
        features.TRAIN_SPLIT: (splits.train_start, splits.eval_start),
        features.EVAL_SPLIT: (splits.eval_start, splits.end),
    }
    return {f"examples.{name}.{CLICKED}": int(times.is_between(*span, "left").sum()) for name, span in starts.items()}


def unlabeled(counters: Mapping[str, int]) -> str:
    """Why no model can be trained, or measured, on what was ingested: a split in which nobody clicked; "" for none."""
    lacking = [split for split in _PURPOSES if not counters.get(f"examples.{split}.{CLICKED}")]
    if not lacking:
        return ""
    of = f"the split{'s' * (len(lacking) > 1)} {' and '.join(f'`{split}`' for split in lacking)}"
    purposes = " and ".join(_PURPOSES[split] for split in lacking)
    return (
        f"No search of {of} led to a click, a cart or an order, so there is nothing to {purposes}. Check that the log "
        "has such events, that they carry the request_id of their search (UBI: query_id), which rows were dropped, and "
        "where `ingest.eval_start` cuts the log."
    )


def check_labels(counters: Mapping[str, int]) -> None:
    """Raises DataError where a model could not be trained, or not be measured, on what was ingested."""
    if reason := unlabeled(counters):
        raise DataError(reason)
