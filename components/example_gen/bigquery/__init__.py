"""BigQuery tables as inputs of ingestion."""
