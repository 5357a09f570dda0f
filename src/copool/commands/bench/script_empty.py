"""A script that imports nothing, to time the start of an interpreter with."""

print("done")
