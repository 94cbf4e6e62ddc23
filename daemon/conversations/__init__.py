"""What people write: archived, understood, asked about, and labelled in the CRM."""
