"""The benchmark: measures what the performance budget is about and prints it, as ratios within one run.

`workload` makes Porter's data, `rig` runs the servers, `stages` is what is written to, `passes` the
measured process, `bare_kubernetes` and `bare_vault` the loops it is compared with, `figures` the table.
Nothing here is imported by the product or shipped.
"""
