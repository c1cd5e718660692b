"""Keeps user states fresh: live events, read and joined as ingestion does, into Redis."""
