#!/usr/bin/env bash
# SciPy's compiled solvers of differential equations can't be used in each other's
# right-hand sides, and what they say of it is about something else.
#
# Guess: it works. The Fortran with its common blocks is gone, it is C with a state of
# its own now; quad() within quad() has always worked.
# Seen: once the inner one has ended, the outer one fails at its first step: odeint and
# LSODA say "Illegal input detected", vode "callback not initialized", dopri5 "larger
# nsteps is needed", which sends one looking at tolerances. odeint still returns an
# array, with 0.9999 where 0.3679 belongs, and warns. The callback is kept for the
# thread, and is forgotten at the end of a call instead of put back. RK45, BDF and Radau,
# which are Python, are right. SciPy 1.18.1, numpy 2.5.5, CPython 3.12.
#
# The same happens without any nesting where two solvers take turns in one thread, as in
# greenlets.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for python in python3.12 "$HOME"/.pyenv/versions/3.12.*/bin/python ''; do
    if [[ ! $python ]]; then
        echo 'needs CPython 3.12' >&2
        exit 1
    fi
    "$python" --version >/dev/null 2>&1 && break
done
"$python" -m venv "$folder"
"$folder/bin/pip" --quiet --disable-pip-version-check install scipy==1.18.1 numpy==2.5.5

"$folder/bin/python" - <<'PYTHON'
import sys
import warnings

import scipy
from scipy.integrate import ode, odeint, quad, solve_ivp

warnings.simplefilter("ignore")


def by_odeint(f):
    result, info = odeint(f, [1.0], [0, 1], tfirst=True, full_output=True)
    return result[-1, 0], info["message"]


def by_solve_ivp(method):
    def solve(f):
        result = solve_ivp(f, (0, 1), [1.0], method=method)
        return result.y[0, -1], "" if result.success else result.message

    return solve


def by_ode(name):
    def solve(f):
        solver = ode(f).set_integrator(name).set_initial_value([1.0], 0)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            return solver.integrate(1.0)[0], " ".join(str(w.message) for w in said)

    return solve


def nested(solve):
    """Solves y' = -y up to 1; the first right-hand side does so once more."""
    calls = 0

    def right_hand_side(t, y):
        nonlocal calls
        calls += 1
        if calls == 1:
            solve(lambda t, y: -y)
        return -y

    try:
        return solve(right_hand_side)
    except RuntimeError as error:
        return None, str(error)


print("SciPy", scipy.__version__)
expected = {
    "odeint": (by_odeint, "Illegal input detected"),
    "LSODA": (by_solve_ivp("LSODA"), "Unexpected istate"),
    "vode": (by_ode("vode"), "callback not initialized"),
    "dopri5": (by_ode("dopri5"), "larger nsteps is needed"),
    "RK45": (by_solve_ivp("RK45"), None),
    "BDF": (by_solve_ivp("BDF"), None),
    "Radau": (by_solve_ivp("Radau"), None),
}
changed = []
for name, (solve, complaint) in expected.items():
    alone = solve(lambda t, y: -y)[0]
    inside, said = nested(solve)
    shown = "none" if inside is None else f"{inside:.4f}"
    print(f"{name:7} alone {alone:.4f}, with another inside {shown}  {said[:60]}")
    right = inside is not None and abs(inside - 0.3679) < 1e-3
    if abs(alone - 0.3679) > 1e-3 or right == bool(complaint):
        changed.append(name)
    elif complaint and complaint not in said:
        changed.append(name)
area = quad(lambda x: quad(lambda y: x * y, 0, 1)[0], 0, 1)[0]
print(f"quad within quad {area:.4f}")
if changed or abs(area - 0.25) > 1e-9:
    sys.exit(f"not as seen before: {', '.join(changed) or 'quad'}")
PYTHON
