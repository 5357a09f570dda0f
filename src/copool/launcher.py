#!python
"""The command `copool`, as it is installed."""

import sys

from copool.__main__ import main

sys.exit(main())
