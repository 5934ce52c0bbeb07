"""Other languages beside this runtime: deviations by step, whole answers, and what a reduced decoding changes."""
