"""Asks again whether what the pages say holds: `make claims`; --quick in make ci.

Prints what no longer does, and exits with 1 then. Pages as arguments take the claims
of these only.
"""

import sys
from collections import Counter, defaultdict

import claims
from claims import Claim


def is_asked(claim: Claim, quick: bool) -> bool:
    """Whether it can be asked of this interpreter, in this run."""
    if claim.kind in ("by", "once") or (claim.python and not claim.is_of_this_python):
        return False
    return not quick or not (claim.long or claim.kind == "test")


def main() -> int:
    """Ask, and tell."""
    quick = "--quick" in sys.argv
    only = [word for word in sys.argv[1:] if not word.startswith("-")]
    listed = claims.read()
    wrong = 0

    def tell(line: str) -> None:
        nonlocal wrong
        wrong += 1
        print("claims:", line, flush=True)

    print(f"claims: of copool {claims.installed()} on CPython {claims.VERSION}")
    asked, tests = 0, defaultdict(list)
    for claim in listed:
        if only and claim.page not in only:
            continue
        if verdict := claims.standing(claim) or claims.named(claim):
            tell(f"{claim} {verdict}")
        elif is_asked(claim, quick):
            asked += 1
            if claim.kind == "test":
                tests[claims.node(claim.source)].append(claim)
            elif verdict := claims.compare(claim):
                tell(f"{claim} {verdict}")
    bad = claims.run_tests(list(tests))
    for node, outcome in bad.items():
        for claim in tests[node]:
            tell(f"{claim} rests on {node}: {outcome}")
    for page in claims.pages():
        name = str(page.relative_to(claims.ROOT))
        if not only or name in only:
            for part in claims.unclaimed(name, page.read_text(), listed):
                tell(f"nothing says how this is known: {part}")
    kinds = Counter(claim.kind for claim in listed)
    print("claims:", ", ".join(f"{kinds[kind]} {kind}" for kind in claims.KINDS))
    print(f"claims: {asked} asked here; wrong: {wrong}")
    return bool(wrong)


sys.exit(main())
