"""Coverage-guided fuzzing (atheris) of what intake itself does with bytes before any decoder sees them.

Run alone, it is libFuzzer's command: `python -m tests.robustness.fuzz_headers -runs=100000 CORPUS`.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from tests.robustness.measure import NO_WISH, REPOSITORY, Measure, Wish, environment, share_of_a_core, throttled

RUNS = {"seconds": 20_000, "minutes": 1_000_000, "hours": 10_000_000}
FINDINGS = Path(tempfile.gettempdir()) / "edge-infer-fuzz"


def trial(size: str, wish: Wish = NO_WISH) -> Measure:
    """Fuzzes `read_header` and `for_decoder`; a crash, an untyped error or a time-out ends the run and is a loss."""
    measure = Measure("Intake's own code, coverage-guided (atheris)")
    if find_spec("atheris") is None:
        measure.figures["left out"] = "atheris is not installed"
        return measure
    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder, "corpus")
        corpus.mkdir()
        fill_corpus(corpus)
        log = Path(folder, "log")
        with log.open("w") as stream:
            process = subprocess.Popen(
                command(corpus, f"-runs={RUNS[size]}", "-seed=1"),
                cwd=REPOSITORY,
                env=environment(),
                stdout=stream,
                stderr=stream,
                text=True,
            )
            with throttled(process, share_of_a_core()):
                process.wait()
        text = log.read_text(errors="replace")
    found = re.findall(r"^#(\d+)\s.*?cov: (\d+) ft: (\d+)", text, re.MULTILINE)
    if found:
        measure.tried = int(found[-1][0])
        measure.figures["coverage"] = f"{found[-1][1]} edges, {found[-1][2]} features"
    if process.returncode != 0:
        measure.lose(f"exit {process.returncode}: {text[-1500:]}")
    return measure


def fill_corpus(folder: Path) -> None:
    """Puts the worst cases of the tests into a corpus, those that it does not have yet."""
    from tests.support.hostile_files import CASES

    for number, case in enumerate(CASES.values()):
        if not (seed := folder / f"case-{number}").exists():
            seed.write_bytes(case.make()[:4096])


def command(corpus: Path, *options: str) -> list[str]:
    """libFuzzer's command over a corpus, with the limits of every run."""
    FINDINGS.mkdir(exist_ok=True)
    limits = ("-max_len=4096", "-timeout=10", "-rss_limit_mb=2048", f"-artifact_prefix={FINDINGS}/")
    return [sys.executable, "-m", "tests.robustness.fuzz_headers", *options, *limits, str(corpus)]


def main() -> None:
    """libFuzzer's own command line."""
    import atheris

    with atheris.instrument_imports(include=["edge_infer.steps.header", "edge_infer.steps.container"]):
        from edge_infer.steps.container import for_decoder
        from edge_infer.steps.header import read_header
    from edge_infer.errors import ImageDecodeError

    def one(data: bytes) -> None:
        try:
            header = read_header(data)
            assert header.width > 0 and header.height > 0
            for_decoder(data, header.format)
        except ImageDecodeError:
            pass

    atheris.Setup(sys.argv, one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
