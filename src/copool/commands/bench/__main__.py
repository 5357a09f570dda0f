"""``python -m copool.commands.bench``, which `copool bench` is."""

import sys

from copool.commands.bench.cli import main

sys.exit(main(sys.argv[1:]))
