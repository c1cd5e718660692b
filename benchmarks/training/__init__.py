"""How fast models train: see `__main__`."""
