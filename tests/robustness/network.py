"""Every system call of the commands that diagnose, looked through for one that reaches for a network (strace)."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np

from tests.robustness.measure import NO_WISH, REPOSITORY, Measure, Wish, environment

NETWORK = re.compile(r"socket\(AF_(?!UNIX|NETLINK)|connect\(.*AF_(?!UNIX|UNSPEC)|sendto\(.*AF_INET")


def trial(size: str, wish: Wish = NO_WISH) -> Measure:
    """A socket that is not local, or a connection, is a loss; so is a command that fails."""
    from tests.support.toy_bundle import write_toy_bundle
    from trainer.data.drawn import draw_picture

    measure = Measure("No network: system calls of commands (strace)")
    if shutil.which("strace") is None:
        measure.figures["left out"] = "strace is not installed"
        return measure
    with tempfile.TemporaryDirectory(prefix="edge-infer-network-") as name:
        folder = Path(name)
        bundle = str(write_toy_bundle(folder / "toy"))
        picture = folder / "picture.png"
        cv2.imwrite(str(picture), draw_picture(np.random.default_rng(1), 120, 160, "nv").image[..., ::-1])
        probe = [sys.executable, "-c", "import socket; socket.socket().connect_ex(('127.0.0.1', 9))"]
        code, trace = traced(probe, folder)
        if code or not NETWORK.search(trace):
            measure.figures["left out"] = f"strace cannot trace here (exit {code})"
            return measure
        cli = [sys.executable, "-m", "edge_infer.cli"]
        saved = ["--save-overlay", str(folder / "overlays"), "--save-report", str(folder / "report.html")]
        commands = {
            "diagnose": [*cli, "diagnose", str(picture), "--bundle", bundle, *saved],
            "verify": [*cli, "verify", bundle],
            "batch plan": [*cli, "batch", "plan", str(picture), "-o", str(folder / "run"), "--bundle", bundle],
            "batch run": [*cli, "batch", "run", str(folder / "run"), "--workers", "1"],
        }
        for what, command in commands.items():
            code, trace = traced(command, folder)
            measure.tried += 1
            reached = [line for line in trace.splitlines() if NETWORK.search(line)]
            if code or reached:
                measure.lose(f"{what}: exit {code}, {reached[:3]}")
            local = sum("(" in line for line in trace.splitlines())
            measure.figures[what] = f"{local} calls of the network family, {len(reached)} beyond this machine"
    return measure


def traced(command: list[str], folder: Path) -> tuple[int, str]:
    """Runs a command and its children under strace; its exit code, and the calls of the network family."""
    trace = folder / "trace"
    strace = ["strace", "-f", "-qq", "-e", "trace=network", "-o", str(trace)]
    done = subprocess.run([*strace, *command], cwd=REPOSITORY, env=environment(), capture_output=True, check=False)
    return done.returncode, trace.read_text(errors="replace")
