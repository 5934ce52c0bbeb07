"""Two pictures of one lesion: aligned, or refused, and what changed between them."""
