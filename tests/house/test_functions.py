"""Functions are of a size that one can hold in one's head. (How many parameters they have, ruff counts: PLR0913.)"""

from __future__ import annotations

import ast

from source_files import sources

MOST_LINES = 80
MARK = "# long: "
"""A function that is longer says in its first line, behind this mark, why it is one."""


def test_no_function_has_more_than_80_lines_without_saying_why() -> None:
    found = []
    for source in sources("pipeline", "stages"):
        lines = source.text.splitlines()
        for node in ast.walk(source.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno is not None
                length = node.end_lineno - node.lineno + 1
                head = "\n".join(lines[node.lineno - 1 : node.body[0].lineno - 1])
                if length > MOST_LINES and MARK not in head:
                    found.append(f"{source.name}:{node.lineno} {node.name} has {length} lines")
    assert not found, "\n".join(found)
