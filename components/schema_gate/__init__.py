"""The step that holds new data against the schema and the last good data, and stops the run on an error."""
