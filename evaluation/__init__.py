"""Measures a servable on what users did and what people judged: shared by gate, `souk evaluate` and bench; no TFX."""
