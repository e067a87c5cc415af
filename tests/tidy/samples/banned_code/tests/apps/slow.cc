void f() { usleep(1); }
