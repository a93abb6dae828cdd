"""Numbers over one image or a million."""
