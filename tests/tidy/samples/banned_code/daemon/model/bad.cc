using namespace std;
using namespace std::chrono_literals;
auto a = b().then(c);
void f() { t.detach(); }
void g() { std::this_thread::sleep_for(1s); }
void h() { ::sleep(1); sleep(2); }
void i() { std::printf("x"); fprintf(stderr, "x"); }
void j() { std::cout << 1; }
void k() { strcpy(a, b); system("ls"); }
std::regex r;
std::system_error e(1); ring.sleep(2);
