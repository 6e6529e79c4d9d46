"""Real servers for the tests: each is built once into the user's cache and started on ports of its own.

`cache` and `builds` provide the programs, `processes` runs them, `kubernetes` and `mongodb` are what a
test holds in its hands, `plugin` offers those as pytest fixtures. Nothing here imports the product.
"""
