"""Faults at the file operations of a job, one after the other, and what is left after each.

A job runs in a forked process with an audit hook that counts its operations on files below one folder, and does harm at
the wanted one: the process is killed, the disk is full from there on, permissions are gone from there on, or somebody
presses Ctrl-C. After that nothing half may look whole, what was finished before is as it was, and the same job without
a fault ends with what an undisturbed one gives.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import cv2

from edge_infer.errors import EdgeInferError
from tests.robustness.fault_jobs import Job, jobs
from tests.robustness.measure import NO_WISH, Measure, Wish

POINTS = {"seconds": 2, "minutes": 12, "hours": 10_000}
"""At how many operations of a job each fault is tried, spread evenly from the first to the last."""
KINDS = ("kill -9", "full disk", "permissions lost", "Ctrl-C")
HANGS = 120
UNTYPED, TYPED, INTERRUPTED, PIPE = 99, 2, 130, 141
_NOBODY = 65_534
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC


def trial(size: str, wish: Wish = NO_WISH) -> Measure:
    """Every job, every fault, at points spread over its operations; a loss is told with job, fault and operation."""
    measure = Measure("Faults at file operations, and the same job again")
    # A forked process that changes their number waits for ever for threads that OpenCV had in its parent.
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory(prefix="edge-infer-faults-") as folder:
        Path(folder).chmod(0o755)
        for job in jobs(Path(folder)):
            _try_job(job, POINTS[size], measure)
    return measure


def _try_job(job: Job, points: int, measure: Measure) -> None:
    wanted, operations = _undisturbed(job, measure)
    if wanted is None:
        return
    chosen = sorted({round(i * (operations - 1) / max(1, points - 1)) for i in range(points)}) if operations else []
    for kind in KINDS:
        for at in chosen:
            job.fresh()
            code, said = in_child(job, lambda kind=kind, at=at: harm(job.root, kind, at))
            complaint = _judged(job, kind, code, said, wanted) or _again(job, wanted)
            _count(measure, f"{job.name}, {kind} at operation {at} of {operations}", complaint)
    job.fresh()
    code, said = in_child(job, jumping_clock)
    unlike = "" if code == 0 and job.final() == wanted else f"exit {code} or another result: {said[-300:]}"
    _count(measure, f"{job.name}, jumping clock", unlike)
    _count(measure, f"{job.name}, really full disk", _really_full(job, wanted))
    if job.stdout is not None:
        _count(measure, f"{job.name} | head -n 0", _nobody_reads(job))
        _count(measure, f"{job.name} > /dev/full", _full_stdout(job))
    _count(measure, f"{job.name}, read-only folder as an unprivileged user", _really_read_only(job))
    measure.figures[job.name] = f"{operations} operations"


def _undisturbed(job: Job, measure: Measure) -> tuple[Any, int]:
    job.fresh()
    reader, writer = os.pipe()
    code, said = in_child(job, lambda: report_operations(job.root, writer))
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        operations = len(stream.read())
    complaint = f"exit {code}: {said[-600:]}" if code else job.whole(None)
    _count(measure, f"{job.name}, undisturbed", complaint)
    return (None if complaint else job.final()), operations


def _judged(job: Job, kind: str, code: int, said: str, wanted: Any) -> str:
    """What is wrong after a fault, "" where nothing is."""
    allowed = {
        "kill -9": {0, -signal.SIGKILL},
        "Ctrl-C": {0, INTERRUPTED},
        "full disk": {0, TYPED},
        "permissions lost": {0, TYPED},
    }[kind]
    if code not in allowed or "Traceback" in said:
        return f"exit {code}: {said[-600:]}"
    if code == 0 and job.final() != wanted:
        return "it says that all is well, and the result is another"
    if kind in ("full disk", "Ctrl-C") and (left := job.leftovers()):
        return f"left behind: {', '.join(left)}"
    return job.whole(wanted)


def _again(job: Job, wanted: Any) -> str:
    code, said = in_child(job, lambda: None)
    if code:
        return f"then, without a fault: exit {code}: {said[-600:]}"
    return "" if job.final() == wanted else "then, without a fault: another result"


def _count(measure: Measure, what: str, complaint: str) -> None:
    measure.tried += 1
    print(f"  {what}: {'lost' if complaint else 'sound'}", file=sys.stderr, flush=True)
    if complaint:
        measure.lose(f"{what}: {complaint}")


def in_child(
    job: Job, prepare: Callable[[], Any], user: int | None = None, stdout: str | int | None = None
) -> tuple[int, str]:
    """Runs a job in a forked process.

    Args:
        job: what to run.
        prepare: called in the child before, to arm a fault.
        user: whose rights the child has.
        stdout: file or descriptor for its standard output; None: the job's.

    Returns:
        Its exit code (negative: the signal), `UNTYPED` for an error that nobody foresaw, and what it said on stderr.
    """
    stdout = stdout or str(job.stdout or os.devnull)
    with tempfile.TemporaryFile("w+", errors="replace") as said:
        sys.stdout.flush()
        sys.stderr.flush()
        child = os.fork()
        if child == 0:
            code = UNTYPED
            try:
                os.dup2(said.fileno(), 2)
                os.dup2(stdout if isinstance(stdout, int) else os.open(stdout, _WRITE, 0o644), 1)
                # The parent's stream believes for ever that it can or cannot be sought, as what it was opened on could.
                sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
                signal.signal(signal.SIGINT, signal.default_int_handler)
                if user is not None:
                    os.setgroups([])
                    os.setgid(user)
                    os.setuid(user)
                prepare()
                code = job.run()
            except SystemExit as stop:
                code = stop.code if isinstance(stop.code, int) else 0 if stop.code is None else UNTYPED
            except EdgeInferError as error:
                os.write(2, f"error [{error.code}]: {error}\n".encode(errors="replace"))
                code = TYPED
            except KeyboardInterrupt:
                code = INTERRUPTED
            except BaseException:
                os.write(2, traceback.format_exc().encode(errors="replace"))
            finally:
                os._exit(code)
        end = time.monotonic() + HANGS
        while True:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                break
            if time.monotonic() > end:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                return UNTYPED, f"it hung for {HANGS} s"
            time.sleep(0.002)
        said.seek(0)
        return os.waitstatus_to_exitcode(status), said.read()


def operation(root: Path, event: str, arguments: tuple[Any, ...]) -> str | None:
    """What an audit event does to files below a folder: "make", "move" or "remove"; None for anything else."""
    if event == "open":
        path, mode, flags = arguments
        writes = any(letter in mode for letter in "wax+") if mode else flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        return "make" if writes and _below(root, path) else None
    kind = {
        "os.mkdir": "make",
        "os.rename": "move",
        "os.remove": "remove",
        "os.rmdir": "remove",
        "os.truncate": "make",
        "os.chmod": "move",
    }.get(event)
    if kind is None or not arguments:
        return None
    # A path beside a folder's descriptor comes from shutil.rmtree, which works on what the job made.
    return kind if _below(root, arguments[0]) or not Path(os.fsdecode(arguments[0])).is_absolute() else None


def _below(root: Path, path: object) -> bool:
    return isinstance(path, str | bytes | os.PathLike) and os.fsdecode(path).startswith(f"{root}{os.sep}")


def report_operations(root: Path, descriptor: int) -> None:
    """Writes one byte for each operation."""

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if operation(root, event, arguments):
            os.write(descriptor, b".")

    sys.addaudithook(hook)


def harm(root: Path, kind: str, at: int) -> None:
    """Arms a fault at an operation of this process, from 0; it cannot be taken back."""
    numbers = count()

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        what = operation(root, event, arguments)
        if what is None:
            return
        number = next(numbers)
        if number == at and kind == "kill -9":
            os.kill(os.getpid(), signal.SIGKILL)
        elif number == at and kind == "Ctrl-C":
            signal.raise_signal(signal.SIGINT)
        elif number >= at and kind == "full disk" and what == "make":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), os.fspath(arguments[0]))
        elif number >= at and kind == "permissions lost":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), os.fspath(arguments[0]))

    sys.addaudithook(hook)


def jumping_clock() -> None:
    """From now on the wall clock leaps ten years forth and back with every look at it."""
    real, leaps = time.time, count()
    decade = 10 * 365 * 86_400

    def leaping() -> float:
        return real() + (decade if next(leaps) % 2 else -decade)

    time.time = leaping
    time.time_ns = lambda: int(leaping() * 1e9)


def _really_full(job: Job, wanted: Any) -> str:
    """On a small file system, where one can be mounted; else with files that cannot grow."""
    job.fresh()
    with small_disk(job.root, job.small) as mounted:
        if mounted:
            code, said = in_child(job, lambda: None)
        else:
            code, said = in_child(job, _small_files)
        if code not in (0, TYPED) or "Traceback" in said:
            return f"exit {code}: {said[-600:]}"
        if code == 0:
            return "" if job.final() == wanted else "it says that all is well, and the result is another"
        return job.whole(wanted)


def _nobody_reads(job: Job) -> str:
    job.fresh()
    reader, writer = os.pipe()
    os.close(reader)
    try:
        code, said = in_child(job, lambda: None, stdout=writer)
    finally:
        os.close(writer)
    return "" if code == PIPE and not said.strip() else f"exit {code}: {said[-600:]}"


def _full_stdout(job: Job) -> str:
    if not Path("/dev/full").exists():
        return ""
    job.fresh()
    code, said = in_child(job, lambda: None, stdout="/dev/full")
    return "" if code == TYPED and "Traceback" not in said else f"exit {code}: {said[-600:]}"


def _small_files() -> None:
    import resource

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, 1_000))


@contextmanager
def small_disk(folder: Path, room: int) -> Iterator[bool]:
    """Mounts a file system with so many bytes of room beside what the folder holds over it; False where it may not."""
    if os.getuid() != 0 or sys.platform != "linux":
        yield False
        return
    aside = folder.with_name(f"{folder.name}-aside")
    shutil.copytree(folder, aside)
    mount = ["mount", "-t", "tmpfs", "-o", "size=64m,mode=755", "tmpfs", str(folder)]
    mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    try:
        if mounted:
            shutil.copytree(aside, folder, dirs_exist_ok=True)
            state = os.statvfs(folder)
            (folder / "filler").write_bytes(bytes(max(0, state.f_bavail * state.f_frsize - room)))
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=False, capture_output=True)
        shutil.rmtree(aside)


def _really_read_only(job: Job) -> str:
    """As a user without rights, who may read and not write."""
    job.fresh()
    if os.getuid() == 0:
        user: int | None = _NOBODY
    else:
        user = None
    paths = [job.root, *job.root.rglob("*")]
    for path in paths:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        code, said = in_child(job, lambda: None, user)
    finally:
        for path in paths:
            path.chmod(0o755 if path.is_dir() else 0o644)
    if code != TYPED or "Traceback" in said:
        return f"exit {code}: {said[-600:]}"
    return job.whole(None)
