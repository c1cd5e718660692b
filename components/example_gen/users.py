"""User profiles: validated, one row per user."""

import polars as pl

USER_ID = "user_id"


def validate_users(raw: pl.DataFrame, columns: tuple[str, ...], file_index: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The usable profiles (user_id, `columns`, file), and the unusable rows with a `reason`."""
    typed = raw.select([pl.col(name).str.strip_chars().replace("", None) for name in (USER_ID, *columns)]).with_columns(
        file=pl.lit(file_index, pl.Int32)
    )
    named = typed[USER_ID].is_not_null()
    return typed.filter(named), raw.filter(~named).with_columns(reason=pl.lit("missing_user_id"))


def one_row_per_user(profiles: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Profiles sorted by user, and the repeated rows with a `reason`. The least by content is kept."""
    order = profiles.sort(profiles.columns)
    first = order[USER_ID].is_first_distinct()
    return order.filter(first), order.filter(~first).with_columns(reason=pl.lit("duplicate_user"))


def users_schema(columns: tuple[str, ...]) -> pl.Schema:
    """The schema of validated profiles."""
    return pl.Schema({USER_ID: pl.String()} | dict.fromkeys(columns, pl.String()) | {"file": pl.Int32()})
