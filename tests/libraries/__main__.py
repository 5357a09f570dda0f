"""Runs libraries that nobody here wrote on copool's stacks: `make libraries`.

Each runs in a coroutine, in a greenlet and in a task of anywhere mode, in a process of
its own; its answers must be those of the main flow. Needs the virtual environment that
make prepares.
"""

import argparse
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

from judge import Listed, Result, read_listed, read_result, surprises
from page import write_row
from requirement import excluded, is_quick

HERE = Path(__file__).parent
sys.path.append(str(HERE.parent / "compat"))
from harness import finish, tail  # noqa: E402

HOSTS = ("coroutine", "greenlet", "task")
WORKS = sorted(path.stem for path in (HERE / "works").glob("[a-z]*.py"))
TIMEOUT = 600
# The LU of OpenBLAS takes most of a stack when it has two threads.
ENVIRON = {"OPENBLAS_NUM_THREADS": "2"}


def run(library: str, host: str, folder: Path) -> Result:
    record = folder / f"{library}-{host}.jsonl"
    log = record.with_suffix(".log")
    record.touch()
    inherited = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    status = finish(
        [sys.executable, str(HERE / "program.py"), library, host, str(record)],
        log=log,
        timeout=TIMEOUT,
        cwd=folder,
        env=inherited | ENVIRON,
    )
    is_late = status == -signal.SIGKILL
    return read_result(record.read_text(), None if is_late else status, tail(log))


def run_all(library: str, folder: Path) -> dict[str, Result]:
    if reason := excluded(library):
        return {host: Result({}, skipped=reason) for host in HOSTS}
    return {host: run(library, host, folder) for host in HOSTS}


def tell(library: str, results: dict[str, Result], took: float) -> None:
    cells = []
    for host, result in results.items():
        counts = (
            len(result.outcomes),
            sum(outcome.status == "ok" for outcome in result.outcomes.values()),
        )
        cells.append(f"{host} {counts[1]} of {counts[0]}")
    version = next(iter(results.values())).version
    reason = next(iter(results.values())).skipped
    said = f"skipped: {reason}" if reason else f"{', '.join(cells)}, {took:.0f} s"
    print(f"{library} {version}: {said}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="make libraries", description=__doc__)
    parser.add_argument("libraries", nargs="*", metavar="LIBRARY", help=str(WORKS))
    parser.add_argument(
        "--quick", action="store_true", help="those of requirements-quick.txt"
    )
    parser.add_argument(
        "--write", action="store_true", help="put the results into docs/libraries.md"
    )
    options = parser.parse_args()
    if unknown := {*options.libraries} - {*WORKS}:
        parser.error(f"no such library: {', '.join(sorted(unknown))}")
    listed = read_listed(HERE / "expected.toml")
    if unknown := listed.keys() - {*WORKS}:
        parser.error(f"expected.toml has no such library: {unknown}")

    passed = failed = skipped = 0
    with tempfile.TemporaryDirectory() as folder:
        chosen = filter(is_quick, WORKS) if options.quick else WORKS
        for library in options.libraries or chosen:
            begin = time.monotonic()
            results = run_all(library, Path(folder))
            tell(library, results, time.monotonic() - begin)
            found = surprises(results, listed.get(library, Listed()))
            for surprise in found:
                print("  " + surprise.replace("\n", "\n    "), flush=True)
            if options.write:
                write_row(results, listed.get(library, Listed()))
            failed += len(found)
            skipped += sum(bool(result.skipped) for result in results.values())
            passed += sum(len(r.outcomes) for r in results.values()) - len(found)
    print(f"\n{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
