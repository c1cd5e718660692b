import math

import pytest
from prometheus_client.parser import text_string_to_metric_families

from serving.server.metrics import LATENCY_BUCKETS, Counter, Histogram, Metrics


def samples(text: str) -> dict[str, list]:
    """Prometheus' own reading of a page: family name -> samples."""
    return {family.name: family.samples for family in text_string_to_metric_families(text)}


def page(metric) -> str:
    return "\n".join(metric.lines()) + "\n"


def test_a_counter_counts_for_each_label():
    counter = Counter(":tensorflow:serving:request_count", ("model_name", "status"))
    counter.add("souk", "OK")
    counter.add("souk", "OK", by=2)
    counter.add('a "b"\\\n', "NOT_FOUND")
    (family,) = samples(page(counter)).values()
    assert {(s.labels["model_name"], s.labels["status"]): s.value for s in family} == {
        ("souk", "OK"): 3,
        ('a "b"\\\n', "NOT_FOUND"): 1,
    }


def test_a_histogram_is_cumulative_and_ends_with_all():
    histogram = Histogram("latency", ("model",), bounds=(1.0, 10.0, 100.0))
    for value in (0.5, 1.0, 5, 50, 500):
        histogram.observe(value, "souk")
    found = samples(page(histogram))["latency"]
    buckets = {s.labels["le"]: s.value for s in found if s.name == "latency_bucket"}
    assert buckets == {"1": 2, "10": 3, "100": 4, "+Inf": 5}
    assert {s.name: s.value for s in found if s.name != "latency_bucket"} == {"latency_sum": 556.5, "latency_count": 5}


def test_latencies_reach_from_10_microseconds_to_20_minutes():
    assert LATENCY_BUCKETS[0] == 10
    assert math.isclose(LATENCY_BUCKETS[1], 18)
    assert LATENCY_BUCKETS[-1] * 1.8 > 20 * 60e6
    assert len(LATENCY_BUCKETS) == 33


@pytest.mark.parametrize(
    "name",
    [
        ":tensorflow:serving:request_count",
        ":tensorflow:serving:request_latency",
        ":tensorflow:serving:runtime_latency",
        ":tensorflow:serving:model_warmup_latency",
        ":tensorflow:serving:batching_session:queuing_latency",
        ":tensorflow:core:graph_runs",
        ":tensorflow:core:graph_run_time_usecs",
        ":tensorflow:cc:saved_model:load_attempt_count",
        ":tensorflow:cc:saved_model:load_latency",
    ],
)
def test_the_names_are_tensorflow_servings(name):
    assert name in samples(Metrics().page())
