"""`python -m tests.supply_chain`: what this project is built and tested with."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from tests.supply_chain.audit import audit
from tests.supply_chain.licences import licence
from tests.supply_chain.lock import CONSTRAINTS, lock
from tests.supply_chain.needs import TESTS, WHEEL, NotInstalledError, closure, direct
from tests.supply_chain.sbom import sbom


def main() -> int:
    """Exit code 1: a licence is not accepted, or a vulnerability is known; 3: it could not be looked at."""
    parser = argparse.ArgumentParser(prog="python -m tests.supply_chain", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("lock", help=f"write {CONSTRAINTS.name} from what is installed here")
    judged = commands.add_parser("licences", help="list the licences of everything the wheel needs; fail on others")
    judged.add_argument("--of", choices=("wheel", "tests"), default="wheel", help="`tests` lists and never fails")
    bill = commands.add_parser("sbom", help="write the bill of materials (CycloneDX 1.6 JSON)")
    bill.add_argument("-o", "--output", type=Path, metavar="FILE", help="default: standard output")
    asked = commands.add_parser("audit", help="ask pip-audit about the locked versions, where it can")
    asked.add_argument("--strict", action="store_true", help="exit 3 where it could not be asked")
    wanted = parser.parse_args()
    try:
        match wanted.command:
            case "lock":
                CONSTRAINTS.write_text(lock(), encoding="utf-8")
                return 0
            case "licences":
                return _licences(wanted.of)
            case "sbom":
                text = json.dumps(sbom(), indent=2) + "\n"
                if wanted.output is None:
                    sys.stdout.write(text)
                else:
                    wanted.output.write_text(text, encoding="utf-8")
                return 0
            case _:
                answer = audit()
                print(*answer.found, answer.says, sep="\n")
                return 1 if answer.found else 3 if wanted.strict and not answer.done else 0
    except NotInstalledError as error:
        print(error, file=sys.stderr)
        return 3


def _licences(of: str) -> int:
    found = [licence(name, d) for name, d in closure(direct(WHEEL if of == "wheel" else TESTS)).items()]
    for entry in found:
        inside = f"; in its binaries: {entry.inside}" if entry.inside else ""
        complaint = f"   <- {entry.complaint}" if entry.complaint else ""
        print(f"{entry.name:<24} {entry.version:<12} {entry.spdx or 'UNKNOWN'}{inside}{complaint}")
    return 1 if of == "wheel" and any(entry.complaint for entry in found) else 0


if __name__ == "__main__":
    sys.exit(main())
