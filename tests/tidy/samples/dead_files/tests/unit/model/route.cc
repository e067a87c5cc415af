// misses the _test suffix
