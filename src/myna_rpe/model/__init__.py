"""Spectrogram to embedding: patches, positions, attention, encoder, checkpoints."""
