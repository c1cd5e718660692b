"""Decides whether a new servable may take the place of the one that is served."""
