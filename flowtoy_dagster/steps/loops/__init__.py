"""The stage `for_each`: the items of a step, their queue, their outcomes."""
