"""Pipeline steps of our own, one folder each."""
