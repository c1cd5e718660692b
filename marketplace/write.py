"""Files of a simulated shop: seeded bytes, whole or not at all."""

import gzip
import io
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl

from schema.settings import InputError

SHOP_FILE = "shop.json"
CATALOG_FILE = "catalog.jsonl.gz"
USERS_FILE = "users.jsonl.gz"
EVENTS_DIRECTORY = "events"


def write_rows(path: Path, rows: pl.DataFrame) -> None:
    """Write `rows` as gzipped JSON lines; equal rows give equal bytes, for no time or name is in the header."""
    text = io.BytesIO()
    rows.write_ndjson(text)
    with path.open("wb") as raw, gzip.GzipFile("", "wb", 1, raw, mtime=0) as packed:
        packed.write(text.getbuffer())


def write_shop(path: Path, facts: dict[str, Any]) -> None:
    """Write what the shop is, as readable JSON."""
    path.write_text(json.dumps(facts, indent=2, ensure_ascii=False) + "\n", "utf-8")


def _foreign(directory: Path) -> set[str]:
    names = {path.name for path in directory.iterdir()}
    ours = {SHOP_FILE, CATALOG_FILE, USERS_FILE, EVENTS_DIRECTORY}
    return names - ours if SHOP_FILE in names else names


@contextmanager
def whole_directory(target: Path, force: bool = False) -> Iterator[Path]:
    """A directory to write into that becomes `target` when the block ends, and leaves nothing behind if it fails.

    Raises:
      InputError: `target` holds something that no simulation wrote and `force` is false, or is no directory.
    """
    if target.exists() and not target.is_dir():
        raise InputError(f"{target} is a file; give a directory for the simulated shop")
    foreign = sorted(_foreign(target)) if target.is_dir() and not force else []
    if foreign:
        raise InputError(
            f"{target} holds {foreign[0]!r}, which no simulation wrote; give another directory, "
            "or --force to replace all that is in it"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    made.chmod(0o755)
    try:
        yield made
        if target.exists():
            shutil.rmtree(target)
        made.rename(target)
    finally:
        shutil.rmtree(made, ignore_errors=True)
