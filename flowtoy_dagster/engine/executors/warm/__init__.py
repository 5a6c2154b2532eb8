"""The executor `warm`: workers forked from a process that has imported everything."""
