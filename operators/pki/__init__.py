"""The pki operator."""
