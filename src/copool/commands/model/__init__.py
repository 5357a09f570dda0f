"""The pool's policies as an executable model, and a walk through all it can do.

`policies` is meant to be read beside the C code, or the patch that it began with;
`explore` goes through every interleaving of a few threads; `copool simulate` runs
thousands of them in virtual time.
"""
