"""Puts the kiosk into the wheel where `EDGE_INFER_KIOSK=1` asks for it: built with npm, fresh from its lock file."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class KioskBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """Hatchling's hook of this project; see https://hatch.pypa.io/latest/plugins/build-hook/custom/."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Builds and includes the kiosk in a wheel that asks for it."""
        if os.environ.get("EDGE_INFER_KIOSK") != "1" or version == "editable":
            return
        npm = shutil.which("npm")
        if npm is None:
            raise RuntimeError("EDGE_INFER_KIOSK=1 needs npm: install Node 20 or newer, or leave the variable out.")
        folder = Path(self.root) / "ports/kiosk"
        for arguments in (["ci", "--no-audit", "--no-fund"], ["run", "build"]):
            subprocess.run([npm, *arguments], cwd=folder, check=True)
        build_data["force_include"][str(folder / "dist")] = "edge_infer/kiosk/web"
