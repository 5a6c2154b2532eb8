"""Files of records: where they are, how they are written whole, and how they are read.

Also what every floor asks of paths: the working directory."""
