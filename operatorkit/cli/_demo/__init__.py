"""The demo: a story told with manifests, against a control plane that is there for the story alone."""
