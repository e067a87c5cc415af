// a room that is not in the table
