# The same for a KV engine of version 1: marks are secrets below porter/.syncer.
path "secret/porter/*" {
  capabilities = ["create", "update", "read", "list", "delete"]
}
