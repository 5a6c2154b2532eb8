"""What the parts of a deployment answer that machines share; nothing in here writes."""
