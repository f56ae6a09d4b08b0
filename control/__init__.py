"""What a call is: the bridge between its two legs, its deadlines and its record."""
