"""From a music file to a mel-spectrogram: finding files, decoding them, the front end."""
