int fine() {
    return 1;
}
int  ugly( ) { return 2; }
