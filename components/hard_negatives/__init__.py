"""Mines hard negatives for the next training out of what the last blessed model ranks well."""
