"""The error of a command used wrongly."""


class CommandError(Exception):
    """A command cannot do what it was asked to: one line that says what is wrong and how to mend it."""
