"""Trains a list of model variants on one data set and measures each on the evaluation split."""
