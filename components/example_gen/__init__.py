"""Ingestion: raw search logs, a catalog and user profiles in; one Examples artifact with three splits out.

`ingest.run_ingest` is the whole step without TFX; `component.SoukExampleGen` is the TFX component for it.
"""
