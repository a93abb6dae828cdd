"""Receptive fields: which pixels of the image go into a layer's values."""
