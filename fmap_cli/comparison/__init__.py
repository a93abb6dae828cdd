"""Where two sides part."""
