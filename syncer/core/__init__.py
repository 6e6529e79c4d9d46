"""The pure heart: values, selection, mapping, planning and the guard. No I/O anywhere."""
