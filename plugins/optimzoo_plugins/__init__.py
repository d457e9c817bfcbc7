"""The bundled plugins, one module per library or family of constructors, each reached only through its entry point."""
