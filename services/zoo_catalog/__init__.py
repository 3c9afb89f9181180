"""The catalog service: models, versions, aliases, changes; namespaces, keys, grants."""
