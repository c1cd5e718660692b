"""What came of a run, and how it is shown: tables, page, report and JSON."""
