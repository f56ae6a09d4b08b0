"""What a stream break costs: the time without a stream, at the median, carrier by carrier."""

from control.service.stream_gaps import StreamGaps


def test_a_carrier_whose_streams_never_broke_has_no_figure() -> None:
    gaps = StreamGaps()
    gaps.up("call_1", "twilio", 5.0)
    assert gaps.typical("twilio") is None


def test_the_figure_is_the_median_of_the_times_without_a_stream() -> None:
    gaps = StreamGaps()
    for number, lasted in enumerate((0.7, 0.9, 5.0)):
        gaps.down(f"call_{number}", 10.0)
        gaps.up(f"call_{number}", "twilio", 10.0 + lasted)
    assert gaps.typical("twilio") == 10.9 - 10.0
    assert gaps.typical("telnyx") is None


def test_the_first_word_of_a_lost_stream_counts_and_an_ended_call_none() -> None:
    gaps = StreamGaps()
    gaps.down("call_1", 1.0)
    gaps.down("call_1", 2.0)
    gaps.down("call_2", 1.0)
    gaps.forget("call_2")
    gaps.up("call_1", "twilio", 3.0)
    gaps.up("call_2", "twilio", 9.0)
    assert gaps.typical("twilio") == 2.0
