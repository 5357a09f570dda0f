"""What the requirements say of a library: whether it is quick, for what Python."""

from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

HERE = Path(__file__).parent
QUICK, ALL = (HERE / f"requirements{end}.txt" for end in ("-quick", ""))


def _read(path: Path) -> dict[str, Requirement]:
    lines = path.read_text().splitlines()
    found = [Requirement(line) for line in lines if line and line[0] not in "#-"]
    return {canonicalize_name(requirement.name): requirement for requirement in found}


def _distribution(library: str) -> str:
    """Its package, "" for what is in the standard library; imports nothing of it."""
    source = (HERE / "works" / f"{library}.py").read_text()
    _, _, rest = source.partition('DISTRIBUTION = "')
    return canonicalize_name(rest.partition('"')[0])


def is_quick(library: str) -> bool:
    return _distribution(library) in {"", *_read(QUICK)}


def excluded(library: str) -> str:
    """The reason if its package is for other versions; "" if it is for this one."""
    distribution = _distribution(library)
    if not distribution:
        return ""
    marker = (_read(QUICK) | _read(ALL))[distribution].marker
    return "" if marker is None or marker.evaluate() else f"required for {marker} only"
