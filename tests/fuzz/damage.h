// Seeded damage to files.
#ifndef LAPIDARY_TESTS_FUZZ_DAMAGE_H_
#define LAPIDARY_TESTS_FUZZ_DAMAGE_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <random>
#include <string>

namespace lapidary {

// Changes, drops, repeats or cuts off some bytes, a few times.
//   header  of so many bytes, which are hit more often than what follows; 0:
//           all alike
inline void Damage(std::mt19937* random, size_t header, std::string* bytes) {
  const auto below = [&](size_t bound) { return (*random)() % bound; };
  for (size_t times = 1 + below(4); times > 0 && !bytes->empty(); --times) {
    const size_t reach = header > 0 && below(2) == 0
                             ? std::min(bytes->size(), header)
                             : bytes->size();
    const size_t at = below(reach);
    const size_t count = std::min(1 + below(16), bytes->size() - at);
    switch (below(6)) {
      case 0:
        bytes->erase(at, count);
        break;
      case 1:
        bytes->insert(at, bytes->substr(at, count));
        break;
      case 2:
        bytes->resize(at);
        break;
      case 3:
        std::fill_n(bytes->begin() + static_cast<int64_t>(at), count, '\xFF');
        break;
      default:
        (*bytes)[at] = static_cast<char>(below(256));
    }
  }
}

}  // namespace lapidary

#endif  // LAPIDARY_TESTS_FUZZ_DAMAGE_H_
