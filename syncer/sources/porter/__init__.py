"""Everything this project knows of Porter's data, and the only package that does.

`mongodb` and `dump` fetch raw documents (`store` says how they are asked), `documents` and
`bundle` judge them, `source` puts snapshots and values together, `secrets` asks the stores in
which Porter keeps sensitive values, `porter_config` reads Porter's own configuration, and
`listing` with `compat` is what Porter's own commands print. Reads only; writes nowhere.
"""
