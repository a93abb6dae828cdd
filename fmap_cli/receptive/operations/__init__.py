"""What each kind of operation does to the fields of its arguments: a rule an operation, an axis of the image a call."""
