"""From detector pixels to directions in the laboratory."""
