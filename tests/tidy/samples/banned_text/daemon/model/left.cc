// TODO: later
// FIXME
// /work/main and $HOME/home/x and ~/home/y
