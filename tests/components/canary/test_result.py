import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.canary.result import CanaryResult, Latency


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=300))
def test_a_percentile_is_the_lowest_latency_enough_requests_met(milliseconds):
    latency = Latency.of(milliseconds)
    for percent, value in ((50, latency.p50), (90, latency.p90), (99, latency.p99), (100, latency.max)):
        kept = {bound: sum(m <= bound for m in milliseconds) for bound in milliseconds}
        assert value == min(bound for bound in milliseconds if kept[bound] * 100 >= percent * len(milliseconds))


@pytest.mark.parametrize(
    ("failures", "present", "absent"),
    [((), "INFRA_BLESSED", "INFRA_NOT_BLESSED"), (("too slow",), "INFRA_NOT_BLESSED", "INFRA_BLESSED")],
)
def test_the_blessing_is_told_by_the_name_of_an_empty_file(tmp_path, failures, present, absent):
    result = CanaryResult(failures=failures, latency=Latency(1, 1, 2, 3, 4), edge_latency_ms={"an empty query": 1.5})
    result.write(tmp_path / "blessing")
    assert (tmp_path / "blessing" / present).read_text() == ""
    assert not (tmp_path / "blessing" / absent).exists()
    written = json.loads((tmp_path / "blessing" / "canary.json").read_text())
    assert written["blessed"] is result.blessed is (not failures)
    assert written["failures"] == list(failures)
    assert written["latency"] == {"requests": 1, "p50": 1, "p90": 2, "p99": 3, "max": 4}
    assert written["edge_latency_ms"] == {"an empty query": 1.5}
