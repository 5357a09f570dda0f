"""The reference of commands: what each says of itself.

```{command-help} copool ps
```
"""

import os
import subprocess
import sys
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import copool

# Where the reader's copool and Python are is not where the site was built.
PLACES = {
    str(Path(copool.__file__).parent): "…/copool",
    sys.executable: "…/python3",
    os.path.realpath(sys.executable): "…/python3",
}


class CommandHelp(SphinxDirective):
    """Shows what a command prints when it is asked for help."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        """Ask it."""
        command, *arguments = self.arguments[0].split()
        said = subprocess.run(
            [sys.executable, "-m", command, *arguments, "--help"],
            capture_output=True,
            text=True,
            check=True,
            env=os.environ | {"COLUMNS": "80"},
        ).stdout
        for place, shown in PLACES.items():
            said = said.replace(place, shown)
        return [nodes.literal_block(said, said, language="text")]


def setup(app: Sphinx) -> dict[str, bool]:
    """Have Sphinx use it."""
    app.add_directive("command-help", CommandHelp)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
