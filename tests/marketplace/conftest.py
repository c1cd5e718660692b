"""One small world and one small log, made once for all tests of the simulated shop."""

from pathlib import Path

import polars as pl
import pytest

from marketplace.presets import preset, with_overrides
from marketplace.simulation import SimulationSummary, World, build_world, simulate

ESCI_ITEMS = Path(__file__).parents[3] / "shared" / "data" / "esci150" / "items.jsonl.gz"


@pytest.fixture(scope="session")
def world() -> World:
    """A shop larger than `tiny`, so that shares can be measured in it."""
    sizes = ["catalog.items=4000", "searchers.users=600", "queries.intents=4000", "searches=20000"]
    return build_world(with_overrides(preset("tiny"), sizes))


@pytest.fixture(scope="session")
def tiny_shop(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SimulationSummary]:
    """The directory and the summary of the preset `tiny`."""
    directory = tmp_path_factory.mktemp("shop") / "tiny"
    return directory, simulate(preset("tiny"), directory)


@pytest.fixture(scope="session")
def tiny_log(tiny_shop: tuple[Path, SimulationSummary]) -> pl.DataFrame:
    """All rows of the tiny log as delivered, with the number of the day's file."""
    frames = [
        pl.read_ndjson(path, infer_schema_length=None).with_columns(file=pl.lit(number))
        for number, path in enumerate(sorted((tiny_shop[0] / "events").iterdir()))
    ]
    rows = pl.concat(frames)
    return rows.with_columns(time=pl.col("timestamp").str.to_datetime(time_unit="ms", time_zone="UTC"))


@pytest.fixture(scope="session")
def tiny_events(tiny_log: pl.DataFrame) -> pl.DataFrame:
    """The tiny log without its duplicates."""
    return tiny_log.unique("event_id", keep="first", maintain_order=True)


@pytest.fixture
def esci_items() -> Path:
    """The ESCI-150 catalog."""
    if not ESCI_ITEMS.is_file():
        pytest.skip(f"needs the ESCI-150 catalog at {ESCI_ITEMS}")
    return ESCI_ITEMS
