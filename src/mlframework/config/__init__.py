"""Reading, overriding and decoding config files."""
