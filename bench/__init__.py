"""The benchmark: measures the budget of docs/performance.md and prints it, as ratios within one run.

`workload` makes Porter's data, `rig` runs the servers, `passes` is the measured process, `bare` the
loop it is compared with, `figures` the table. Nothing here is imported by the product or shipped.
"""
