"""The names of configs: registries, the plugins that fill them, and what the engine registers itself."""
