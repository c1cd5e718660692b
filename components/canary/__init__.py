"""The last check before a push: the candidate in the real serving program, asked real and awkward questions."""
