"""Sends a serving program the traffic of a shop and measures how it bears it.

`arrivals` says when requests are due, `generator` sends them whether or not earlier ones were answered, `report` holds
what came back, with latencies in a `histogram`; `background` does so beside other work, and `saturation` looks for
the rate at which a server can no longer follow. No TensorFlow.
"""
