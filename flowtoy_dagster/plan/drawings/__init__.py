"""The graph of a flow as text for a terminal, as Mermaid, as DOT and as SVG."""
