#pragma once
inline constexpr unsigned used_max = 1;
inline constexpr std::size_t forgotten_max = 1;
