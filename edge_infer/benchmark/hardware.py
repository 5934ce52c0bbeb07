"""What this machine is and how it is doing: facts for the result file, without names of hosts, users or folders."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge_infer.benchmark.setting import Conditions, Machine
from edge_infer.engines.threads import _cgroup_quota, available_threads

_FEATURES = (
    *("sse4_2", "avx", "avx2", "fma", "f16c", "avx_vnni", "avx512f", "avx512bw", "avx512_vnni", "avx512_bf16"),
    *("avx512_fp16", "amx_tile", "amx_int8", "amx_bf16", "neon", "asimd", "asimddp", "i8mm", "bf16", "sve", "sve2"),
)
_PACKAGES = (
    *("edge-infer", "numpy", "opencv-python-headless", "opencv-python", "onnxruntime", "onnxruntime-gpu"),
    *("onnxruntime-directml", "onnxruntime-openvino", "onnxruntime-qnn", "coremltools", "openvino", "torch"),
    *("torchvision", "pillow"),
)
_UNKNOWN = "unknown: this system does not tell"


def describe_machine(before: Conditions, after: Conditions) -> Machine:
    """The facts of this machine, with its conditions before and after the measurements."""
    return Machine(
        device=_device(),
        processor=_processor(),
        architecture=platform.machine(),
        processor_features=_features(),
        logical_processors=os.cpu_count() or 1,
        usable_processors=available_threads(),
        cgroup_processors=_cgroup_quota(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")),
        memory_bytes=_memory("MemTotal"),
        accelerators=_accelerators(),
        system=f"{platform.system()} {platform.release()}"
        if sys.platform != "darwin"
        else f"macOS {platform.mac_ver()[0]}",
        virtualization=_virtualization(),
        frequency_governor=_read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor") or _UNKNOWN,
        python=platform.python_version(),
        packages={**_versions(), "opencv": _opencv_version()},
        before=before,
        after=after,
    )


def conditions() -> Conditions:
    """How the machine is at this moment."""
    return Conditions(
        load_average=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        power_source=_power_source(),
        thermal_state=_thermal_state(),
        temperature_celsius=_temperature(),
        processor_mhz=_megahertz(),
        available_memory_bytes=_memory("MemAvailable"),
    )


@dataclass(frozen=True)
class ProcessorTimes:
    """Seconds since start, summed over processors: busy with anything, stolen by the hypervisor, and all."""

    busy: float
    stolen: float
    total: float


def processor_times() -> ProcessorTimes | None:
    """Counters of the whole machine, None where the system has no /proc/stat."""
    line = _read("/proc/stat").partition("\n")[0].split()
    if len(line) < 9:
        return None
    user, nice, system, idle, waiting, interrupts, soft, stolen = (int(field) / 100 for field in line[1:9])
    busy = user + nice + system + interrupts + soft
    return ProcessorTimes(busy, stolen, busy + idle + waiting + stolen)


def energy_joules() -> float | None:
    """A counter of the energy that the processor packages have used; None where it cannot be read.

    Linux' RAPL counters, which usually only root may read. They wrap around after some minutes to hours.
    """
    total, found = 0.0, False
    for counter in sorted(Path("/sys/class/powercap").glob("intel-rapl:?/energy_uj")):
        text = _read(counter)
        if text.isdigit():
            total, found = total + int(text) / 1e6, True
    return total if found else None


ENERGY_HINT = (
    "Energy is not measured: no readable RAPL counter (Linux: run as root; macOS: use powermetrics beside it)."
)


def peak_memory_bytes() -> int | None:
    """The largest resident size that this process has had, None where the system does not tell (Windows).

    Linux' ru_maxrss would not do: a new process inherits it from the one that started it.
    """
    match = re.search(r"^VmHWM:\s*(\d+) kB", _read("/proc/self/status"), re.MULTILINE)
    if match:
        return int(match.group(1)) * 1024
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def resident_memory_bytes() -> int | None:
    """The resident size of this process now, None where there is no /proc."""
    fields = _read("/proc/self/statm").split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE") if len(fields) > 1 else None


def _device() -> str:
    if sys.platform == "darwin":
        return _run("sysctl", "-n", "hw.model") or "Mac"
    for path in ("/proc/device-tree/model", "/sys/devices/virtual/dmi/id/product_name"):
        text = _read(path).strip("\0 ")
        if text:
            return text
    return "unnamed machine"


def _processor() -> str:
    if sys.platform == "darwin":
        return _run("sysctl", "-n", "machdep.cpu.brand_string") or platform.processor()
    match = re.search(r"^model name\s*:\s*(.+)$", _read("/proc/cpuinfo"), re.MULTILINE)
    return match.group(1).strip() if match else platform.processor() or platform.machine()


def _features() -> tuple[str, ...]:
    match = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", _read("/proc/cpuinfo"), re.MULTILINE)
    has = set(match.group(1).split()) if match else set()
    return tuple(name for name in _FEATURES if name in has)


def _accelerators() -> tuple[str, ...]:
    found = [
        line.strip()
        for line in _run("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader").splitlines()
    ]
    if sys.platform == "darwin" and platform.machine() == "arm64":
        found.append("Apple GPU and Neural Engine of the same chip")
    return tuple(found)


def _virtualization() -> str:
    if Path("/.dockerenv").exists():
        return "container"
    return "virtual machine" if re.search(r"\bhypervisor\b", _read("/proc/cpuinfo")) else "none seen"


def _power_source() -> str:
    if sys.platform == "darwin":
        text = _run("pmset", "-g", "batt")
        return "battery" if "Battery Power" in text else "mains" if "AC Power" in text else _UNKNOWN
    supplies = [path for path in Path("/sys/class/power_supply").glob("*") if _read(path / "type") in ("Mains", "USB")]
    if any(_read(path / "online") == "1" for path in supplies):
        return "mains"
    batteries = [path for path in Path("/sys/class/power_supply").glob("*") if _read(path / "type") == "Battery"]
    if any(_read(path / "status") == "Discharging" for path in batteries):
        return "battery"
    return _UNKNOWN


def _thermal_state() -> str:
    if sys.platform == "darwin":
        text = _run("pmset", "-g", "therm")
        match = re.search(r"CPU_Speed_Limit\s*=\s*(\d+)", text)
        return f"speed limit {match.group(1)} %" if match else "no limit recorded" if text else _UNKNOWN
    counters = Path("/sys/devices/system/cpu").glob("cpu[0-9]*/thermal_throttle/core_throttle_count")
    counts = [int(text) for text in map(_read, counters) if text.isdigit()]
    return f"{sum(counts)} throttling events since start" if counts else _UNKNOWN


def _temperature() -> float | None:
    texts = [_read(path) for path in Path("/sys/class/thermal").glob("thermal_zone*/temp")]
    values = [int(text) / 1000 for text in texts if text.lstrip("-").isdigit()]
    return max(values, default=None)


def _megahertz() -> float | None:
    values = [float(value) for value in re.findall(r"^cpu MHz\s*:\s*([\d.]+)", _read("/proc/cpuinfo"), re.MULTILINE)]
    return float(np.mean(values)) if values else None


def _memory(key: str) -> int | None:
    if sys.platform == "darwin":
        text = _run("sysctl", "-n", "hw.memsize") if key == "MemTotal" else ""
        return int(text) if text.isdigit() else None
    match = re.search(rf"^{key}:\s*(\d+) kB", _read("/proc/meminfo"), re.MULTILINE)
    return int(match.group(1)) * 1024 if match else None


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _opencv_version() -> str:
    import cv2

    return str(cv2.__version__)


def _read(path: str | Path) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _run(*command: str) -> str:
    if shutil.which(command[0]) is None:
        return ""
    return _output(command)


def _output(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
