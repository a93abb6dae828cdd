"""Files and arrays: what the network takes, and the picture for the eye."""
