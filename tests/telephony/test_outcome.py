"""The figures a simulated call reports."""

from hypothesis import given
from hypothesis import strategies as st

from telephony.outcome import EchoLatency


def test_percentiles_are_of_the_nearest_rank() -> None:
    latency = EchoLatency.of(120, [n / 100 for n in range(100, 0, -1)])
    assert latency is not None
    assert (latency.sent, latency.returned) == (120, 100)
    assert (latency.p50, latency.p95, latency.p99, latency.maximum) == (0.50, 0.95, 0.99, 1.00)


def test_nothing_returned_is_no_latency() -> None:
    assert EchoLatency.of(3, []) is None


@given(st.lists(st.floats(0, 10), min_size=1))
def test_percentiles_are_measured_values_in_order(latencies: list[float]) -> None:
    latency = EchoLatency.of(len(latencies), latencies)
    assert latency is not None
    figures = [latency.p50, latency.p95, latency.p99, latency.maximum]
    assert figures == sorted(figures)
    assert set(figures) <= set(latencies)
    assert latency.maximum == max(latencies)
