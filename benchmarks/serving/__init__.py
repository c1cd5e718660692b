"""The serving benchmark: index, server and command line at a million items."""
