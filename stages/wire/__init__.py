"""What comes over the socket: messages, encoded values, recorded messages, and a server of frames."""
