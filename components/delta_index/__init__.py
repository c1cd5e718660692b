"""A small exact index of what has changed in the catalog since the full index was built."""
