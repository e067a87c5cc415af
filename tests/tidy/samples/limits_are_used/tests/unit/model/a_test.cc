int b = forgotten_max;
