"""What a person runs: each command of `copool` has a package here, named like it.

No program that uses copool imports them; `ps` and `dump` are both in `outside`, and
`run`, which must begin at once, is not here.
"""
