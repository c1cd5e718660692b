"""Settings of ingestion: where the inputs are, how the log is split, how long the behavior windows are."""

import datetime
import re
from collections.abc import Iterable
from dataclasses import fields
from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field, field_validator, model_validator

from components.example_gen.cloud import DATE, dated, is_table, parse_address
from schema import features
from schema.settings import InputError, Settings, nearest
from souk_client.behavior_windows import BehaviorWindows

PositiveInt = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]

MILLISECONDS_PER_HOUR = 3_600_000
MILLISECONDS_PER_DAY = 24 * MILLISECONDS_PER_HOUR

# What is read: of `DataConfig`, the fields of patterns.
INPUTS: Final = ("events", "ubi_queries", "catalog", "users")

# A feature of this name is an input and a file of TensorFlow's.
_COLUMN_NAME: Final = re.compile(r"[A-Za-z0-9_.-]+")


class CatalogColumns(Settings):
    """Further columns of the catalog that count for retrieval, by what they hold. A column may be of several kinds."""

    text: tuple[str, ...] = ()
    """Texts, such as a description; each becomes the feature `text_<column>`. The values of a list are joined by line
    ends, and HTML is taken out."""
    categorical: tuple[str, ...] = ()
    """One value or a list of values, such as colors; each becomes the feature `categorical_<column>`."""
    numeric: tuple[str, ...] = ()
    """Numbers, such as a rating; each becomes the feature `numeric_<column>`."""

    @property
    def names(self) -> tuple[str, ...]:
        """All of them, each once."""
        return tuple(dict.fromkeys((*self.text, *self.categorical, *self.numeric)))

    @property
    def features(self) -> tuple[str, ...]:
        """The names of the features that they become."""
        return (
            *map(features.text_feature, self.text),
            *map(features.categorical_feature, self.categorical),
            *map(features.numeric_feature, self.numeric),
        )

    @field_validator("text", "categorical", "numeric", mode="before")
    @classmethod
    def _one_name_is_a_list_of_one(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    @field_validator("text", "categorical", "numeric")
    @classmethod
    def _names_are_new_and_plain(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        from components.example_gen.columns import CATALOG_COLUMNS

        for name in value:
            if name in CATALOG_COLUMNS:
                raise ValueError(f"{name!r} is read anyway, as are {', '.join(CATALOG_COLUMNS)}; leave it out here")
            if not _COLUMN_NAME.fullmatch(name):
                raise ValueError(
                    f"{name!r} cannot name a feature, which has letters from A to Z, digits, `_`, `.` and `-` alone; "
                    f"give it a plain name here, and say in `columns.catalog` that the file calls it {name!r}"
                )
            if value.count(name) > 1:
                raise ValueError(f"{name!r} is named twice")
        return value


NO_COLUMNS: Final = CatalogColumns()


class ColumnNames(Settings):
    """What the files call Souk's columns, where they call them otherwise: Souk's name, then the file's. A name with
    dots, such as `attributes.color`, is a field of JSON objects or of a Parquet struct.
    """

    catalog: dict[str, str] = Field(default_factory=dict)
    """Also for the columns in `catalog_columns`."""
    events: dict[str, str] = Field(default_factory=dict)
    """Not for UBI, which has names of its own."""
    users: dict[str, str] = Field(default_factory=dict)
    """Also for the columns in `profile_columns`."""

    @field_validator("catalog", "events", "users")
    @classmethod
    def _every_name_is_one(cls, value: dict[str, str]) -> dict[str, str]:
        for name, source in value.items():
            if not all(source.split(".")):
                raise ValueError(f"{source!r}, which {name!r} is mapped to, is no name of a column")
        return value


class DataConfig(Settings):
    """Where the three inputs are. Each pattern is a path, a glob, a path that Beam's FileSystems can read (gs://), or
    a BigQuery table: bigquery://project.dataset.table, with `?where=<condition>` for some of its rows.

    Files are JSONL (.jsonl, .ndjson, .json), CSV (.csv, .tsv) or Parquet (.parquet); the text formats also as .gz.
    """

    events: tuple[str, ...]
    """Patterns of the event log; for `ubi`, of the `ubi_events` dumps."""
    events_format: Literal["souk", "ubi"] = "souk"
    ubi_queries: tuple[str, ...] = ()
    """Patterns of the `ubi_queries` dumps; required for `events_format: ubi`."""
    ubi_actions: dict[str, Literal["search", "impression", "click", "add_to_cart", "order"]] = Field(
        default_factory=dict
    )
    """Event types of the shop's own UBI action names, on top of those in the table of docs/data.md."""
    ubi_user: Literal["user_id", "client_id"] = "user_id"
    """Which field of UBI names the user. `user_id`: that of a document, or else of another document of the same query
    and client, or else `client_id`. `client_id`: always that."""
    ubi_first_ordinal: Annotated[int, Field(ge=0, le=1)] | None = None
    """The `ordinal` of the first item of a page in the `ubi_events` dumps. By default 0 if at least 1 % of the ordinals
    are 0, or else 1."""
    catalog: tuple[str, ...]
    users: tuple[str, ...] = ()
    profile_columns: tuple[str, ...] = ()
    """Categorical columns of `users` that become the features `profile_<column>`."""
    catalog_columns: CatalogColumns = NO_COLUMNS
    columns: ColumnNames = ColumnNames()

    @field_validator(*INPUTS, mode="before")
    @classmethod
    def _one_pattern_is_a_list_of_one(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    @field_validator("events", "catalog")
    @classmethod
    def _not_empty(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value:
            raise ValueError("needs at least one file, glob or table")
        return value

    @field_validator(*INPUTS)
    @classmethod
    def _addresses_of_tables_are_spelled_right(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in value:
            if is_table(pattern):
                try:
                    parse_address(pattern)
                except InputError as error:
                    raise ValueError(str(error)) from None
        return value

    @model_validator(mode="after")
    def _fits_together(self) -> "DataConfig":
        if self.events_format == "ubi" and not self.ubi_queries:
            raise ValueError("events_format is `ubi`, so `ubi_queries` must name the ubi_queries dumps")
        if self.events_format != "ubi" and self.ubi_queries:
            raise ValueError("`ubi_queries` is only read with `events_format: ubi`")
        if self.events_format != "ubi" and self.ubi_actions:
            raise ValueError("`ubi_actions` is only read with `events_format: ubi`")
        if self.events_format != "ubi" and self.ubi_first_ordinal is not None:
            raise ValueError("`ubi_first_ordinal` is only read with `events_format: ubi`")
        if self.events_format != "ubi" and self.ubi_user != "user_id":
            raise ValueError("`ubi_user` is only read with `events_format: ubi`")
        if self.profile_columns and not self.users:
            raise ValueError("`profile_columns` needs `users`, the file that holds these columns")
        self._check_mapped_names()
        return self

    def _check_mapped_names(self) -> None:
        columns = self.columns
        if columns.users and not self.users:
            raise ValueError("`columns.users` needs `users`, the file that holds these columns")
        if columns.events and self.events_format == "ubi":
            raise ValueError("`columns.events` is not read with `events_format: ubi`, whose fields have fixed names")
        if not (columns.catalog or columns.events or columns.users):
            return
        from components.example_gen.columns import CATALOG_COLUMNS, EVENT_COLUMNS, USER_ID

        _check_known("catalog", columns.catalog, (*CATALOG_COLUMNS, *self.catalog_columns.names), "catalog_columns")
        _check_known("events", columns.events, EVENT_COLUMNS, "")
        _check_known("users", columns.users, (USER_ID, *self.profile_columns), "profile_columns")


class WindowConfig(Settings):
    """The behavior windows before a request, from the newest to the oldest, without overlap.

    Real-time is the last `real_time_hours`, short-term the `short_term_days` before that, long-term the
    `long_term_days` before that (MGDSPR, arXiv 2106.09297). Each holds distinct items, newest first, at most
    as many as its cap.
    """

    real_time_hours: Annotated[float, Field(gt=0)] = 24.0
    short_term_days: Annotated[float, Field(gt=0)] = 10.0
    long_term_days: Annotated[float, Field(gt=0)] = 30.0
    real_time_cap: PositiveInt = 50
    short_term_cap: PositiveInt = 100
    long_term_cap: PositiveInt = 100
    history_queries_cap: PositiveInt = 10
    scan: PositiveInt = 1000
    """At most this many of a window's newest events are looked at; it bounds the cost of a robot's log."""

    @property
    def real_time_ms(self) -> int:
        """Length of the real-time window, milliseconds."""
        return round(self.real_time_hours * MILLISECONDS_PER_HOUR)

    @property
    def short_term_ms(self) -> int:
        """Length of the short-term window, milliseconds."""
        return round(self.short_term_days * MILLISECONDS_PER_DAY)

    @property
    def long_term_ms(self) -> int:
        """Length of the long-term window, milliseconds."""
        return round(self.long_term_days * MILLISECONDS_PER_DAY)

    @property
    def behavior_windows(self) -> BehaviorWindows:
        """The same in milliseconds, with the table of lists."""
        return BehaviorWindows(**{field.name: getattr(self, field.name) for field in fields(BehaviorWindows)})

    @model_validator(mode="after")
    def _scan_reaches_the_caps(self) -> "WindowConfig":
        largest = max(self.real_time_cap, self.short_term_cap, self.long_term_cap, self.history_queries_cap)
        if self.scan < largest:
            raise ValueError(f"`scan` must be at least the largest cap, {largest}")
        return self


class BigQueryConfig(Settings):
    """How tables of BigQuery are read. Credentials come from the environment alone, never from a setting."""

    project: str = Field("", pattern=r"^([a-z0-9.-]+:)?[a-z0-9-]*$")
    """The project that pays for the reading, in which the account may open read sessions. By default that of the
    environment (GOOGLE_CLOUD_PROJECT, or the credentials' own), or else the table's."""


class IngestConfig(Settings):
    """Everything that ingestion needs."""

    gone: ClassVar = {
        "keys": "it is called `partitions` now",
        "rows_at_once": "a user's events are capped by `max_user_events` now",
    }

    data: DataConfig
    bigquery: BigQueryConfig = BigQueryConfig()
    windows: WindowConfig = WindowConfig()
    date: str | None = None
    """A day, YYYY-MM-DD, or a moment of it in RFC 3339: the log is read up to the start of that day (UTC), eval ends
    there, and `{date}` in a path or an address stands for it. By default the log is read whole."""
    train_start: str | None = None
    """RFC 3339; earlier requests are only history. By default the log's first request."""
    eval_start: str | None = None
    """RFC 3339; requests from here on are the eval split. By default `eval_days` before the log's end."""
    eval_days: Annotated[float, Field(gt=0)] = 1.0
    max_bad_fraction: Fraction = 0.01
    """More unusable rows than this share of an input fail the run."""
    max_unmatched_fraction: Fraction = 0.5
    """The same for rows that are well formed but match nothing: an item that the catalog does not have, a
    request whose query nobody logged. A log that is older than the catalog has some."""
    max_query_characters: PositiveInt = 512
    """Longer queries are cut to this and counted."""
    max_text_characters: PositiveInt = 10_000
    """Longer values of the text columns in `data.catalog_columns` are cut to this and counted."""
    partitions: Annotated[int, Field(ge=1, le=4096)] | None = None
    """Into how many partitions users and items are hashed; each is processed alone, and is one output file of a
    split. By default by the size of the inputs, so that one partition stays small in memory."""
    max_user_events: PositiveInt = 100_000
    """Of a user's searches, clicks, carts and orders in the log at most this many are kept, the newest. No person
    has so many; a robot, or one id for all guests, may. What is dropped is counted and printed."""

    @property
    def end_ms(self) -> int | None:
        """Epoch milliseconds of the start of `date`, None where the log is read whole."""
        if self.date is None:
            return None
        start = datetime.datetime.combine(datetime.date.fromisoformat(self.date), datetime.time(), datetime.UTC)
        return round(start.timestamp() * 1000)

    @property
    def dated_data(self) -> DataConfig:
        """`data` with `date` in the place of `{date}`.

        Raises:
          InputError: a path has `{date}` and there is no `date`.
        """
        return self._dated(*INPUTS)

    def for_catalog(self) -> "IngestConfig":
        """The same for a reading of the catalog alone: without a day, so that it is the same on every day.

        Raises:
          InputError: the catalog's path has `{date}` and there is no `date`.
        """
        times = dict.fromkeys(("date", "train_start", "eval_start"))
        return self.model_copy(update={"data": self._dated("catalog"), **times})

    def _dated(self, *inputs: str) -> DataConfig:
        patterns = {name: getattr(self.data, name) for name in inputs}
        for name, values in patterns.items():
            undated = [value for value in values if DATE in value]
            if undated and self.date is None:
                raise InputError(f"`ingest.data.{name}` has {undated[0]}, so `ingest.date` must say of which day")
            patterns[name] = tuple(_dated(value, self.date) for value in values)
        return self.data.model_copy(update=patterns)

    @field_validator("date", mode="before")
    @classmethod
    def _is_a_day(cls, value: object) -> object:
        from components.example_gen.times import format_timestamp, parse_timestamp

        if value is None:
            return None
        text = str(value)
        try:
            return datetime.date.fromisoformat(text).isoformat()
        except ValueError:
            pass
        try:
            return format_timestamp(parse_timestamp(text.replace(" ", "T", 1)))[:10]
        except InputError:
            raise ValueError(f"{text!r} is neither a day such as 2026-03-01 nor a moment in RFC 3339") from None

    @field_validator("train_start", "eval_start")
    @classmethod
    def _is_a_timestamp(cls, value: str | None) -> str | None:
        from components.example_gen.times import parse_timestamp

        if value is not None:
            try:
                parse_timestamp(value)
            except InputError as error:
                raise ValueError(str(error)) from None
        return value


def _check_known(what: str, mapped: Iterable[str], known: tuple[str, ...], more: str) -> None:
    for name in mapped:
        if name not in known:
            setting = f"; others are named in `{more}` first" if more else ""
            raise ValueError(
                f"`columns.{what}` maps {name!r}, which is no column of Souk's{nearest(name, known)}. Souk's name "
                f"comes first, then the file's. Souk's are {', '.join(known)}{setting}"
            )


def _dated(pattern: str, date: str | None) -> str:
    if date is None:
        return pattern
    return dated(pattern, date) if is_table(pattern) else pattern.replace(DATE, date)
