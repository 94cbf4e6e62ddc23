"""What the process tells of itself: logs without personal data, and metrics."""
