"""Writes the pushed index's items in the formats in which other engines take them: `souk export vectors`."""
