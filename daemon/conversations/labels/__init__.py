"""What people write as labels and attributes in the CRM."""
