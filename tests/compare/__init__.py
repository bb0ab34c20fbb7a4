"""Our node beside another one: the same reads over copies of the same storage."""
