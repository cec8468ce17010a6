// The bundled model's tokenizer, for tests.
#ifndef LAPIDARY_TESTS_SUPPORT_NANO_TOKENIZER_H_
#define LAPIDARY_TESTS_SUPPORT_NANO_TOKENIZER_H_

#include <memory>
#include <string>
#include <utility>

#include "gtest/gtest.h"
#include "storage/tokenizer.h"

namespace lapidary {

inline constexpr char kNanoFolder[] = "deploy/models/nano";

inline const Tokenizer& NanoTokenizer() {
  static const Tokenizer* const tokenizer = [] {
    absl::StatusOr<std::unique_ptr<Tokenizer>> loaded =
        Tokenizer::Load(kNanoFolder);
    EXPECT_TRUE(loaded.ok()) << loaded.status();
    return (*std::move(loaded)).release();
  }();
  return *tokenizer;
}

}  // namespace lapidary

#endif  // LAPIDARY_TESTS_SUPPORT_NANO_TOKENIZER_H_
