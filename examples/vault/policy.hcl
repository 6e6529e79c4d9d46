# What porter-outputs-syncer may do in Vault or OpenBao: everything its kind `vault` of sink needs for
# `mount: secret` and `paths: [porter]`, and no more. A test takes every single capability away and names
# what then fails.

# The mark of a secret is its custom metadata; listing finds what an installation left behind.
path "secret/metadata/porter/*" {
  capabilities = ["create", "update", "patch", "read", "list", "delete"]
}

# Values are read to tell whether they changed. A claim in the metadata comes before them, so that every
# write is an update.
path "secret/data/porter/*" {
  capabilities = ["update", "read"]
}

# The sink destroys its own versions only; a policy cannot tell versions apart.
path "secret/destroy/porter/*" {
  capabilities = ["update"]
}

# OpenBao only: lists with metadata, a page at a time. Without it every secret's metadata are read singly.
path "secret/detailed-metadata/porter/*" {
  capabilities = ["list"]
}
