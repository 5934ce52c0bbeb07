"""Help texts whose options stand in groups, in plain text."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand

SAVING = "Saved files"
BESIDES = "Beside the answer"
DECIDING = "The decision"
RUNNING = "The networks"


class GroupedCommand(TyperCommand):
    """A command whose `--help` puts options with a `rich_help_panel` under that heading, the others first."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Writes arguments and groups, each where its first option stands."""
        groups: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                plain = "Arguments" if parameter.param_type_name == "argument" else "Options"
                groups.setdefault(getattr(parameter, "rich_help_panel", None) or plain, []).append(record)
        for title, records in groups.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)
