from .auto import Auto as Auto
from .file import FromFile as FromFile
from .lattice import FreeLattice as FreeLattice
from .none import NoIndexing as NoIndexing
from .pairs import Pairs as Pairs
