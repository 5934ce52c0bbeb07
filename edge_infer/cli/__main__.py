"""`python -m edge_infer.cli`."""

from edge_infer.cli.app import command

command()
