"""What a flow will do, told without doing it: order, reasons, limits, drawings."""
