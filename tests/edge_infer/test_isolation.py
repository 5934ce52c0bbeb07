"""The runtime needs neither torch nor the trainer nor a network, and its command line starts light."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
FORBIDDEN = ("torch", "torchvision", "timm", "segmentation_models_pytorch", "onnx", "sklearn", "PIL", "trainer")


def run(code: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *arguments],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


ISOLATE = f"""
    import socket, sys

    class Refuse:
        def find_spec(self, name, path=None, target=None):
            if name.split(".")[0] in {FORBIDDEN!r}:
                raise ImportError(f"the runtime imported {{name}}")

    sys.meta_path.insert(0, Refuse())

    def no_network(*arguments, **options):
        raise OSError("the runtime opened a socket")

    # A class, because modules such as http.server inherit from it when they are imported.
    socket.socket = type("NoSocket", (socket.socket,), {{"__init__": no_network}})
    socket.create_connection = socket.getaddrinfo = no_network
"""


def test_the_guards_of_this_test_work() -> None:
    for line in ("import torch", "import socket; socket.create_connection(('localhost', 1))"):
        with pytest.raises(AssertionError, match="the runtime"):
            run(ISOLATE + f"\n    {line}")


def test_the_whole_runtime_works_without_torch_and_network(toy_bundle: Path, nevus_file: Path, tmp_path: Path) -> None:
    code = (
        ISOLATE
        + """
    import importlib, pkgutil
    import edge_infer

    # The engine for Apple devices loads coremltools only when it is used.
    for module in pkgutil.walk_packages(edge_infer.__path__, "edge_infer."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)

    from edge_infer import Diagnoser
    from edge_infer.bundle.golden import read_golden, replay

    with Diagnoser.load(sys.argv[1]) as diagnoser:
        result = diagnoser.diagnose(sys.argv[2])
        assert result.status == "ok", result
        assert [r.status for r in diagnoser.diagnose_many([sys.argv[2], "absent.jpg"])] == ["ok", "error"]
        golden = read_golden(diagnoser.bundle.path / diagnoser.manifest.golden.file)
        assert all(c.passed for c in replay(golden, diagnoser.manifest, diagnoser.segment, diagnoser.classify))

    from edge_infer.cli.app import main

    bundle, picture, overlays = sys.argv[1:]
    sys.argv[1:] = ["diagnose", picture, "--bundle", bundle, "--format", "ndjson", "--save-overlay", overlays]
    try:
        main()
    except SystemExit as stop:
        assert stop.code in (0, None), stop.code
    """
    )
    assert '"status": "ok"' in run(code, str(toy_bundle), str(nevus_file), str(tmp_path / "overlays")).replace(
        '"status":"ok"', '"status": "ok"'
    )
    assert len(list((tmp_path / "overlays").iterdir())) == 1


def test_importing_the_package_loads_nothing_heavy() -> None:
    loaded = run("import edge_infer, sys; edge_infer.__version__; print(*sys.modules)").split()
    assert not {"cv2", "numpy", "onnxruntime"} & set(loaded)
