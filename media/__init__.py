"""What is heard and said: audio, timing and the realtime session. Pure: no loop, no socket, no clock."""
