"""Percentiles are those that numpy computes of the values themselves."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.percentiles import Distribution, distribution


def test_of_nothing_nothing_is_known() -> None:
    assert distribution([]) == Distribution(count=0, average=None, p50=None, p95=None, p99=None, highest=None)


def test_half_of_an_even_count_is_the_lower_middle() -> None:
    assert distribution([(10, 1), (20, 1), (30, 1), (40, 1)]).p50 == 20


@given(st.lists(st.integers(-(10**6), 10**6), min_size=1, max_size=300))
def test_percentiles_are_those_of_the_values_written_out(values: list[int]) -> None:
    found = distribution(Counter(values).items())
    expected = np.percentile(values, [50, 95, 99], method="inverted_cdf")
    assert [found.p50, found.p95, found.p99] == expected.tolist()
    assert found.count == len(values)
    assert found.highest == max(values)
    assert found.average == pytest.approx(np.mean(values), abs=1e-6)
