"""The report of one run: a single HTML page that needs no network."""
