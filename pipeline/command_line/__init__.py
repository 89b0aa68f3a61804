"""The program ``streamajig``: its commands, and what it says to people."""
