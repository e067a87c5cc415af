int deep(int x) {
    if (x) {
        for (;;) {
            while (x) {
                do {
                    if (x == 4) {
                        return 5;
                    }
                } while (x);
            }
        }
    }
    return 0;
}

int lambdas(int x) {
    return f([&] {
        if (x) {
            for (;;) {
                g([&] { h([&] { return x; }); });
            }
        }
    });
}

int fits(int x) {
    if (x) {
        for (;;) {
            while (x) {
                if (x == 4) {
                    S s{{{{{{1}}}}}};
                }
            }
        }
    }
    return 0;
}

int more(int x) {
    switch (x) {
    case Phase::one:
    case Phase::two:
        if (x) [[unlikely]] {
            bpf_object__for_each_map(map, x) {
                while (x) {
                    if (x) {
                        return 1;
                    }
                }
            }
        }
    }
    struct Local {
        void method() {
            if (x) {
            }
        }
    };
    return 0;
}
