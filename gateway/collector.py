"""The garbage collector, kept from stopping every call at once.

What lives for the length of the process is taken out of its sight; a call's own cycles are few and young.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

# Objects made and not let go of before the collector looks for cycles; a frame makes none, so what piles up are calls
# that have ended. Python's own 700 has it look at every living call several times a second, all of them at once.
_COLLECT_AFTER = 50_000


@contextmanager
def quiet_collector() -> Iterator[None]:
    """In here, what has been made so far is out of the collector's sight, and it looks less often."""
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER, 20, 20)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
