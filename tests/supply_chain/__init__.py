"""What this project is built and tested with: locked, listed, its licences judged; `python -m tests.supply_chain -h`."""
