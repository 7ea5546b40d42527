"""Where events come from and replies go."""
