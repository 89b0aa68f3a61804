"""From a message's bytes to header and pixels."""
