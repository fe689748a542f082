"""The music library: catalogue, scan, formats of playlists."""
