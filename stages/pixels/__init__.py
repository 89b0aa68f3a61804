"""Where pixels lie: tables over the pixels of all panels, and the columns of panel tables."""
