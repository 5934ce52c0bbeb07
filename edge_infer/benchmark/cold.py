"""Cold starts: a new process for every sample.

Run as a module it is the child: `python -m edge_infer.benchmark.cold BUNDLE TARGET THREADS PICTURE` diagnoses one
picture and prints what each part took.
"""

from __future__ import annotations

import time

_START = time.perf_counter()

import json  # noqa: E402
import os  # noqa: E402
import subprocess  # noqa: E402
import sys  # noqa: E402
from collections.abc import Mapping, Sequence  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import TYPE_CHECKING  # noqa: E402

if TYPE_CHECKING:
    from edge_infer.benchmark.results import Cold

BARE = ("-c", "import os; os.environ['ORT_DISABLE_TELEMETRY'] = '1'; import onnxruntime, cv2")
_TIMEOUT = 600


def child_command(bundle: Path, target: str, threads: int, picture: Path) -> tuple[str, ...]:
    """Arguments for Python that diagnose one picture on a target."""
    return ("-m", "edge_infer.benchmark.cold", str(bundle), target, str(threads), str(picture))


def measure_cold(commands: Mapping[str, Sequence[str]], starts: int) -> dict[str, Cold]:
    """Starts every command in turn, `starts` times, and one that only imports ONNX Runtime and OpenCV.

    Args:
        commands: Python arguments by name, as `child_command` gives them.
        starts: processes of each; one more is started first and not counted, so that files are in the page cache.

    Returns:
        By name; commands that fail are absent.
    """
    from edge_infer.benchmark.results import Cold

    bare: list[float] = []
    walls: dict[str, list[float]] = {name: [] for name in commands}
    parts: dict[str, list[dict[str, float]]] = {name: [] for name in commands}
    for number in range(starts + 1):
        spent, _ = timed_process(BARE)
        if number:
            bare.append(spent)
        for name, command in commands.items():
            spent, output = timed_process(command)
            if number:
                walls[name].append(spent)
                parts[name].append(json.loads(output) if output else {})
    found = {}
    for name, values in parts.items():
        if not values or not all(values):
            continue
        found[name] = Cold(
            process_ms=tuple(walls[name]),
            bare_ms=tuple(bare),
            import_ms=tuple(value["import_ms"] for value in values),
            load_ms=tuple(value["load_ms"] for value in values),
            first_ms=tuple(value["first_ms"] for value in values),
            peak_memory_bytes=tuple(int(value["peak"]) for value in values if value["peak"]),
        )
    return found


def timed_process(arguments: Sequence[str]) -> tuple[float, str]:
    """Wall milliseconds of a Python process from start to end, and its last line; "" where it failed.

    The process may write bytecode whatever the environment says, as installers do: without it every start of a source
    checkout would compile the package, and nothing else, again.
    """
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        timeout=_TIMEOUT,
        check=False,
        env={name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
    )
    spent = (time.perf_counter() - start) * 1000
    lines = done.stdout.strip().splitlines()
    return spent, lines[-1] if done.returncode == 0 and lines else ""


def main(arguments: Sequence[str]) -> None:
    """The child. Only imports that a diagnosis needs come before the first clock is read."""
    bundle_path, target_name, threads, picture = arguments
    from edge_infer.benchmark.hardware import peak_memory_bytes
    from edge_infer.benchmark.opening import open_target
    from edge_infer.benchmark.targets import find_target
    from edge_infer.bundle.store import load_bundle
    from edge_infer.diagnoser import Diagnoser
    from edge_infer.engines.base import NATIVE_OPENVINO
    from edge_infer.engines.install import load_onnxruntime
    from edge_infer.engines.openvino import import_openvino

    target = find_target(target_name)
    if target.provider == NATIVE_OPENVINO:
        import_openvino()
    elif target.provider is not None:
        load_onnxruntime()
    imported = time.perf_counter()
    bundle = load_bundle(bundle_path)
    opened = open_target(target, bundle, int(threads), prove=False)
    diagnoser = Diagnoser(bundle, opened.segmenter, opened.classifier, variant=opened.variant)
    loaded = time.perf_counter()
    diagnoser.diagnose(picture)
    first = time.perf_counter()
    report = {
        "import_ms": (imported - _START) * 1000,
        "load_ms": (loaded - imported) * 1000,
        "first_ms": (first - loaded) * 1000,
        "peak": peak_memory_bytes(),
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main(sys.argv[1:])
