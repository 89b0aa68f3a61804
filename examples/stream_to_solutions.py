"""Write the crystals of a stream as a solution file, from which they can be indexed again (--indexing=file).

python examples/stream_to_solutions.py output.stream output.sol
"""

import sys
from pathlib import Path

from stages.files.solution import solution_lines
from stages.files.stream import read_stream


def write_solutions(stream: Path, solutions: Path) -> int:
    lines: list[str] = []
    for chunk in read_stream(stream).chunks:
        crystals = [(crystal.reciprocal_per_nm, crystal.lattice, crystal.det_shift_mm) for crystal in chunk.crystals]
        lines += solution_lines(chunk.filename, chunk.event, crystals)
    solutions.write_text("".join(f"{line}\n" for line in lines))
    return len(lines)


if __name__ == "__main__":
    stream, solutions = map(Path, sys.argv[1:])
    print(f"{write_solutions(stream, solutions)} crystals written to {solutions}")
