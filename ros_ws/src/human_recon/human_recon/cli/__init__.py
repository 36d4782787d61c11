"""The human-recon command."""
