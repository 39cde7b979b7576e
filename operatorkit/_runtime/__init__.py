"""The engine room: nobody imports it but cli and testing."""
