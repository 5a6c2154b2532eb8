"""All pages of a list: how the next is found, where records are, why reading ends."""
