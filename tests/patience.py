"""How long a test waits for the world: sockets, servers, processes, threads.

Long enough for a machine that has ten other things to do. A wait that succeeds costs nothing, so there is one number
for all of them; only a fault makes a test wait so long.
"""

# Real seconds until what a test waits for will not come.
PATIENCE = 120.0

# Real seconds for a whole test: several waits, and still the one that failed says what it waited for.
WHOLE_TEST = 5 * PATIENCE
