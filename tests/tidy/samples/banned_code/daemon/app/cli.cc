void f() { std::cout << 1; printf("ok"); }
