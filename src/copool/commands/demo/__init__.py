"""`copool demo`: a job on real code, done with copool and with what else there is.

Each function and class of the standard library gets a walker of its own, which
recurses through the syntax tree and gives out the names it meets. A consumer
takes one name of each in turn.
"""
