"""Known vulnerabilities of the locked versions, from pip-audit where it is installed and can reach its database."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from typing import NamedTuple

from tests.supply_chain.lock import CONSTRAINTS, locked


class Audit(NamedTuple):
    """What came of it: whether the database answered, the vulnerabilities in words, and a sentence that says all."""

    done: bool
    found: tuple[str, ...]
    says: str


def audit(python: str = sys.executable, timeout: float = 300.0) -> Audit:
    """Asks pip-audit about every line of `tests/constraints.txt`; installs nothing."""
    if python == sys.executable and find_spec("pip_audit") is None:
        return Audit(False, (), "NOT AUDITED: pip-audit is not installed (pip install pip-audit).")
    command = [python, "-m", "pip_audit", "-r", str(CONSTRAINTS), "--no-deps", "--disable-pip"]
    command += ["--format", "json", "--progress-spinner", "off", "--timeout", "15"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
        answer = json.loads(done.stdout)["dependencies"]
    except subprocess.TimeoutExpired:
        return Audit(False, (), f"NOT AUDITED: no answer within {timeout:g} s.")
    except (ValueError, KeyError, TypeError):
        words = (done.stderr.strip().splitlines() or ["no words"])[-1]
        return Audit(False, (), f"NOT AUDITED: pip-audit could not ask its database: {words[:300]}")
    found = tuple(
        f"{entry['name']} {entry['version']}: {flaw['id']}, fixed in {', '.join(flaw['fix_versions']) or 'none yet'}"
        for entry in answer
        for flaw in entry.get("vulns", ())
    )
    skipped = [entry["name"] for entry in answer if "skip_reason" in entry]
    says = (
        f"{len(answer) - len(skipped)} of {len(locked())} locked versions audited, {len(found)} vulnerabilities known."
    )
    if skipped:
        few = ", ".join(skipped[:5]) + (", …" if len(skipped) > 5 else "")
        says = f"NOT AUDITED: {len(skipped)} versions that the database does not know ({few}). {says}"
    return Audit(not skipped, found, says)
