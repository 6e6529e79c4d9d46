"""The benchmark: measures what the performance budget is about and prints it, as ratios within one run.

`workload` makes Porter's data, `rig` runs the servers, `passes` is the measured process, `bare` the
loop it is compared with, `figures` the table. Nothing here is imported by the product or shipped.
"""
