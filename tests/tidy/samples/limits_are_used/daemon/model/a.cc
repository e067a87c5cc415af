// forgotten_max in a comment does not count
int a = used_max;
