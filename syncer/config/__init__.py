"""The configuration file: its schema, its checks, and the one place that reads the environment.

Nothing here talks to a source or a sink. What comes out (`model.Config`) is plain data.
"""
