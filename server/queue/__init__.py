"""What has to outlive the process: jobs and their events, outputs, uploads."""
