"""`user_state.parquet`: what the log knows of each user at its end, under the names of the search features.

`souk query --user` sends it along, so that a person can ask as a user of the log would.
"""

import posixpath

import pyarrow.parquet as arrow_parquet
from apache_beam.io.filesystems import FileSystems

from components.example_gen.files import create, open_raw
from components.example_gen.job import Job

USER_STATE_FILE = "user_state.parquet"


def merge_user_states(job: Job) -> None:
    """Puts the user states of all keys into one file, a key at a time."""
    parts = FileSystems.match([job.scratch("user_state", "*.parquet")])[0].metadata_list
    writer: arrow_parquet.ParquetWriter | None = None
    with create(posixpath.join(job.output, USER_STATE_FILE)) as stream:
        for path in sorted(part.path for part in parts):
            with open_raw(path) as part:
                table = arrow_parquet.read_table(part)
            writer = writer or arrow_parquet.ParquetWriter(stream, table.schema, compression="zstd")
            writer.write_table(table)
        if writer is not None:
            writer.close()
