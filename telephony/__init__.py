"""What carriers say: media-socket frames and events, and simulated carriers that say the same."""
