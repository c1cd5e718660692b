"""Sentence encoders out of a folder, and what they know of the terms of a vocabulary."""

from trainer.text_encoder.encoder import TextEncoder, load_encoder
from trainer.text_encoder.terms import term_vectors

__all__ = ["TextEncoder", "load_encoder", "term_vectors"]
