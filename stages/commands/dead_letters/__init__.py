"""The commands ``streamajig dead-letters``: frames that runs rejected, looked at, run again, and deleted."""
