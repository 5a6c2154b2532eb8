"""What requests send, and what is made of the bodies of answers (language 21.8)."""
