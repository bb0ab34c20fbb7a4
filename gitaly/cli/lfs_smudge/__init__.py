"""The filter that replaces LFS pointers in archives by the objects themselves."""
