"""Entry point of `python -m trainer`."""

from trainer.cli.app import main

main()
