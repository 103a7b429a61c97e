"""What keeping target groups right costs a month, from a table of prices and a few numbers."""
