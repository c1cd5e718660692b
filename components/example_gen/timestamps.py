"""Reading timestamps: RFC 3339 with any offset and fraction, or epoch milliseconds."""

import polars as pl

from schema.settings import InputError

# 2000-01-01 and 2100-01-01. Epoch seconds given as milliseconds fall into January 1970 and are caught here.
EARLIEST_MS = 946_684_800_000
LATEST_MS = 4_102_444_800_000


def parse_timestamps(texts: pl.Series) -> pl.Series:
    """Epoch milliseconds of `texts` [rows]; null where a text is no timestamp.

    A date-time without an offset is taken as UTC; parts of a millisecond are cut off.
    """
    whole = texts.str.strip_suffix(".0").cast(pl.Int64, strict=False)
    if whole.null_count() == texts.null_count():
        return whole
    moment = _parse(texts)
    if moment.null_count() + len(texts) - whole.null_count() > texts.null_count():
        naive = moment.is_null() & whole.is_null() & texts.is_not_null()
        if naive.any():
            moment = moment.zip_with(~naive, _parse(texts + "Z"))
    return whole.zip_with(whole.is_not_null(), moment)


def parse_timestamp(text: str) -> int:
    """Epoch milliseconds of one RFC 3339 date-time.

    Raises:
      InputError: if `text` is none.
    """
    value = parse_timestamps(pl.Series([text], dtype=pl.String))[0]
    if value is None:
        raise InputError(f"{text!r} is not a timestamp; write it as RFC 3339, for example 2026-03-01T00:00:00Z")
    return int(value)


def format_timestamp(timestamp_ms: int) -> str:
    """RFC 3339 text of epoch milliseconds, in UTC."""
    return str(pl.Series([timestamp_ms]).cast(pl.Datetime("ms")).dt.strftime("%Y-%m-%dT%H:%M:%SZ")[0])


def _parse(texts: pl.Series) -> pl.Series:
    return texts.str.to_datetime("%+", strict=False, time_unit="ms", time_zone="UTC").dt.epoch("ms")
