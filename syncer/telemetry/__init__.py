"""What is said while something runs: log lines and progress, both to standard error.

Never a value: nothing that could hold one is handed to this package, and what other libraries
say about their exceptions is cut down to the type.
"""
