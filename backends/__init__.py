"""Sinks: places that secrets are written to. A leaf library: nothing here knows Porter."""
