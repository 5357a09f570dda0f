"""How the site is built: `make docs` does it, with warnings as errors."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "extensions"))

import copool

project = "copool"
author = copyright = "the authors of copool"
release = copool.__version__

extensions = [
    "myst_parser",
    "repository",
    "python_reference",
    "c_reference",
    "command_reference",
    "pictures",
]
myst_enable_extensions = ["attrs_block", "deflist", "fieldlist"]
myst_heading_anchors = 4
exclude_patterns = ["extensions", "static"]
nitpicky = True
# Types that are not copool's: the build reaches no other site to look them up.
nitpick_ignore_regex = [
    ("py:(class|obj|exc|data)", r"(?!copool\b).*"),
    ("c:identifier", "size_t|uint64_t"),
]
# MyST hands what is highlighted to Pygments, which has no word for what gdb prints.
# Sphinx has one space of names for functions and structs, C has two.
suppress_warnings = ["misc.highlighting_failure", "duplicate_declaration.c"]

html_theme = "furo"
html_title = "copool"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_copy_source = False
html_theme_options = {
    "light_css_variables": {
        "color-brand-primary": "#0b5fa5",
        "color-brand-content": "#0b5fa5",
        "copool-give": "#b45309",
    },
    "dark_css_variables": {
        "color-brand-primary": "#6cb6ff",
        "color-brand-content": "#6cb6ff",
        "copool-give": "#f0a35e",
    },
}

# `make docs` looks at the links within the site; `make docs-links` at all.
linkcheck_ignore = [] if os.environ.get("EVERY_LINK") else [r"https?://"]
