"""The one path: look at the world, decide purely, act thinly, and say what was done."""
