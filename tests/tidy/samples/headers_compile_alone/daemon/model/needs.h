#pragma once

inline std::vector<int> numbers();
