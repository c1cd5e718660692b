"""Why ingestion reads BigQuery's Arrow batches itself: rows a second beside Beam's own connector, DIRECT_READ.

Both read the same simulated table through the same service, the stand-in of `tests/cloud` on this machine, which has
its answers nearly ready; so this measures the readers, not BigQuery. Souk's rows end as the columns of text that
validation takes; Beam's end as dicts, which would still have to become columns.

Run: python -m benchmarks.bigquery_read [--rows 300_000] [--repeat 3]
"""

import argparse
import datetime
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from types import SimpleNamespace

from rich.console import Console
from rich.table import Table

TABLE = "shop-project.logs.events"


@contextmanager
def service(rows: int) -> Iterator[str]:
    """Serves a table of events, and leads the clients there; gives its address of REST."""
    # By name: what is typed does not import tests.
    stand_in, http, shop = (import_module(f"tests.cloud.{name}") for name in ("bigquery", "http", "shop"))
    bigquery = stand_in.BigQuery()
    bigquery.page_rows = 8000
    server = http.Server(bigquery)
    first = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    bigquery.put(
        TABLE,
        shop.EVENT_FIELDS,
        [
            {
                "event_id": f"e{number}",
                "timestamp": first + datetime.timedelta(seconds=number),
                "request_id": f"r{number // 9}",
                "user_id": f"u{number % 999}",
                "event_type": "click",
                "item_id": f"i{number % 5000}",
                "position": number % 50,
            }
            for number in range(rows)
        ],
    )
    os.environ |= {"BIGQUERY_EMULATOR_HOST": server.address, "BIGQUERY_STORAGE_EMULATOR_HOST": bigquery.address}
    os.environ["NO_GCE_CHECK"] = "true"
    yield server.address
    server.close()
    bigquery.close()


def read_columns() -> int:
    """Reads the table as ingestion does; gives the rows."""
    from components.example_gen.columns import EVENT_COLUMNS
    from components.example_gen.inputs import Reading, find_inputs, read_batches, split_inputs

    splits = split_inputs(find_inputs((f"bigquery://{TABLE}",), "events"), Reading("events", EVENT_COLUMNS))
    return sum(len(batch.frame) for split in splits for batch in read_batches(split, EVENT_COLUMNS))


def read_dicts() -> int:
    """Reads the table with Beam's connector; gives the rows."""
    import apache_beam as beam
    from apache_beam.metrics import MetricsFilter
    from apache_beam.options.pipeline_options import PipelineOptions

    from components.example_gen.columns import EVENT_COLUMNS

    pipeline = beam.Pipeline(runner="FnApiRunner", options=PipelineOptions(["--project=shop-project"]))
    rows = pipeline | beam.io.ReadFromBigQuery(
        table=TABLE.replace(".", ":", 1),
        method=beam.io.ReadFromBigQuery.Method.DIRECT_READ,
        use_native_datetime=True,
        selected_fields=list(EVENT_COLUMNS),
    )
    rows | beam.combiners.Count.Globally() | beam.Map(_count)
    result = pipeline.run()
    result.wait_until_finish()
    return int(result.metrics().query(MetricsFilter().with_name("rows"))["counters"][0].committed)


def _count(rows: int) -> None:
    from apache_beam.metrics import Metrics

    Metrics.counter("bigquery_read", "rows").inc(rows)


def lead_beam_to(address: str) -> None:
    """Beam's connector knows no emulator; it is given the clients that Souk makes, and a token."""
    from apache_beam.internal.gcp import auth
    from apache_beam.io.gcp import bigquery, bigquery_tools
    from google.oauth2.credentials import Credentials

    from components.example_gen.cloud import read_client

    bigquery_tools.bigquery.BigqueryV2.BASE_URL = f"{address}/bigquery/v2/"
    bigquery.bq_storage = SimpleNamespace(BigQueryReadClient=read_client, types=bigquery.bq_storage.types)
    auth._Credentials._credentials = auth._ApitoolsCredentialsAdapter(Credentials("a-token"))
    auth._Credentials._credentials_init = True


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=300_000)
    parser.add_argument("--repeat", type=int, default=3)
    given = parser.parse_args()
    readers: dict[str, Callable[[], int]] = {"Beam's connector": read_dicts, "Souk": read_columns}
    seconds: dict[str, list[float]] = {name: [] for name in readers}
    with service(given.rows) as address:
        lead_beam_to(address)
        for _ in range(given.repeat):
            for name, read in readers.items():
                started = time.monotonic()
                if (rows := read()) != given.rows:
                    raise SystemExit(f"{name} read {rows:,} of {given.rows:,} rows")
                seconds[name].append(time.monotonic() - started)
                print(f"{name}: {seconds[name][-1]:.2f} s", file=sys.stderr)
    table = Table(title=f"{given.rows:,} simulated events, median of {given.repeat} interleaved runs, one worker")
    for column in ("reader", "seconds", "rows/s", "times Beam's"):
        table.add_column(column, justify="left" if column == "reader" else "right")
    slowest = statistics.median(seconds["Beam's connector"])
    for name, measured in seconds.items():
        median = statistics.median(measured)
        table.add_row(name, f"{median:.2f}", f"{given.rows / median:,.0f}", f"{slowest / median:.1f}")
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
