"""Twilio: Media Streams. SignalWire speaks the same wire under its own name."""
