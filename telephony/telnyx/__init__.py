"""Telnyx: media streaming over a websocket."""
