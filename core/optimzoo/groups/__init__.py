"""Parameter groups: rules by name and by kind of module, and the groups that they make."""
