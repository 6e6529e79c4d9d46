"""porter-outputs-syncer: carries the outputs of Porter installations to where secrets are read."""

__version__ = "0.1.0"
