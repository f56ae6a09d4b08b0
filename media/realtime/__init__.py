"""A realtime speech-to-speech session: its state machine and its vendors' wires."""
