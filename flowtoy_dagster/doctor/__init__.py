"""What a deployment answers, part by part, with the fix for each fault; nothing in here writes."""
