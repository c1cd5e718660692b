"""Ingestion: search logs, a catalog and user profiles in; one Examples artifact with three splits out.

`ingest.run_ingest` is the whole step without TFX, `component` has the TFX components for it. The modules in the order
of the data flow:

    inputs       finds files (`files`) and BigQuery tables (`cloud`), and splits them; `fingerprint` identifies them
    readers      read a split as record batches of text columns: csv, jsonl, parquet, bigquery; UBI through `ubi`
    validate     types events and profiles, and keeps what cannot be used as dead letters; `catalog` does so for items,
                 `attributes` for their further columns
    partition    partitions rows by a hash, and caps a user's rows
    join         joins the events of a request: its query, its labels, its clicks, carts and orders
    features     adds the user's history and profile at the time of the request
    encode       encodes columns as tf.Examples, and writes these as TFRecords

`steps` are these for one split or one partition, `job` plans splits, partitions and paths. `stages` names what the
steps pass on, and runs them in this process; `ingest` runs them with Beam where there are other workers. `summary`
counts. `columns`, `times` and `config` hold the schemas, the time splits and the settings; `catalog_file` reads a
catalog alone for evaluation.
"""
