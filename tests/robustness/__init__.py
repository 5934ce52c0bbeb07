"""What is tried against the runtime beyond the tests, at three sizes; `python -m tests.robustness --help`."""
