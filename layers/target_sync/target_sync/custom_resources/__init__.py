"""The stack's custom resources: what ManageStackFunction does for CloudFormation."""
