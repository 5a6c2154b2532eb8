"""Templates and JMESPath expressions: one environment, its names, values and bounds."""
