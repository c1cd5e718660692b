"""One script per claim; each prints one table."""
