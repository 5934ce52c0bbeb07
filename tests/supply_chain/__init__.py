"""What this project is built and tested with: locked, listed, licences judged; `python -m tests.supply_chain -h`."""
