// Requests of every kind that a node answers in tokens, for tests of what an
// answer may depend on: questions, conversations, texts and ids of 2 to 700
// tokens; greedy and seeded draws through every filter; scoring.
#ifndef LAPIDARY_TESTS_ACTORS_MIXED_REQUESTS_H_
#define LAPIDARY_TESTS_ACTORS_MIXED_REQUESTS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "proto/lapidary/v1/lapidary.pb.h"
#include "tests/actors/nano_node.h"

namespace lapidary {

struct MixedRequest {
  // One of the two.
  std::optional<v1::GenerateRequest> generate;
  std::optional<v1::ScoreRequest> score;

  // For a message: what was asked, in short.
  std::string ToString() const;
};

// The same for the same seed. Draws have seeds of their own, so that each
// request has one right answer.
std::vector<MixedRequest> MixedRequests(int count, uint32_t seed);

// Tokens with their log-probabilities, drawn or scored.
struct Outcome {
  grpc::Status status;
  std::vector<v1::Token> tokens;
};

Outcome Ask(Stub& stub, const MixedRequest& request);

// How far apart two outcomes of one request are.
struct Apart {
  int64_t tokens = 0;  // of the first outcome
  // Tokens that differ, or are missing.
  int64_t ids = 0;
  // Tokens of equal ids so far whose own or top log-probabilities differ in any
  // bit.
  int64_t logprobs = 0;
  double largest = 0;  // difference of a token's own log-probability
  // For a message: the first token that differs.
  std::string first;

  bool none() const { return ids == 0 && logprobs == 0; }
  void Add(const Apart& other);
};

Apart Compare(const std::vector<v1::Token>& expected,
              const std::vector<v1::Token>& got);

}  // namespace lapidary

#endif  // LAPIDARY_TESTS_ACTORS_MIXED_REQUESTS_H_
