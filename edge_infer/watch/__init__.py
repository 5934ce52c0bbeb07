"""A folder that is watched: what is put into it is diagnosed once, for kiosks and scanners that run for months."""
