"""The error for data that would be trained on and then tested on."""


class LeakError(ValueError):
    """Something would be fitted on what it is tested on."""
