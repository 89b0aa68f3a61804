"""How Sphinx builds the site; ``make docs`` lays out its pages first (``sources.py``)."""

import sys
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import docstrings

project = "streamajig"
author = "The streamajig developers"
copyright = author
version = release = version_of("streamajig")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
smartquotes = False  # two dashes begin an option
default_role = "code"  # a name in single backticks, as docstrings have it

myst_enable_extensions = ["deflist"]
myst_heading_anchors = 4  # links to headings are written as GitHub makes them

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
napoleon_google_docstring = False
napoleon_use_ivar = True
suppress_warnings = ["ref.python"]  # an attribute's name, of which there are several, is linked to one of them

html_theme = "furo"
html_title = "streamajig"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_show_copyright = False
html_copy_source = False
copybutton_prompt_text = "$ "
copybutton_line_continuation_character = "\\"


def setup(app: Any) -> None:
    """Let docstrings be escaped before napoleon reads them."""
    app.connect("autodoc-process-docstring", docstrings.process, priority=400)
