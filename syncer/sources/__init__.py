"""Where outputs are read: one package per system. Nothing outside asks which one it is."""
