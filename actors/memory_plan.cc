#include "actors/memory_plan.h"

#include <algorithm>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "actors/ple_server.h"
#include "kernels/text/step_bytes.h"

namespace lapidary {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;

// Code and data of the program and its libraries, stacks, gRPC, CAF, RocksDB's
// index and the compute threads: a process that serves the bundled model has
// 38 MiB beside what is counted by group, one with E2B 45.
constexpr uint64_t kRuntimeBytes = 48 * kMiB;
// Of a running request: its call, a usual number of tokens, and messages on
// their way. A prompt of 32,768 tokens takes some 400 KB.
constexpr uint64_t kRequestBytes = 64 << 10;

// Blocks that the reads of a PLE server's readers hold beside the block cache's
// bound (ple_store.cc).
constexpr uint64_t kMostPinned = kPleReaders * 8 * kMiB;

// Serving needs no less.
constexpr int64_t kFewestRows = 16, kFewestHeadRows = 1, kFewestPositions = 256;
constexpr int64_t kFewestRowsAhead = 64;
constexpr uint64_t kSmallestPleCache = 4 * kMiB;
// What a limit should leave room for before anything is generous.
constexpr int64_t kUsualRows = 32, kUsualHeadRows = 8, kUsualPositions = 4096;
constexpr int64_t kUsualRowsAhead = 128;
constexpr uint64_t kUsualPleCache = 8 * kMiB;
// What there is without a limit.
constexpr int64_t kMostHeadRows = 64, kMostRowsAhead = 8192;

// The sizes that can be chosen.
struct Choice {
  int64_t rows = 0, head_rows = 0, rows_ahead = 0, kv_pages = 0;
  uint64_t ple_cache = 0;
};

// Of the refusal of a limit.
std::string ForMedia(uint64_t bytes, absl::string_view media,
                     absl::string_view flag) {
  if (bytes == 0) return "";
  return absl::StrCat(", ", bytes, " for ", media, " (--", flag, "=off: none)");
}

class Planner {
 public:
  Planner(const MemoryFacts& facts, const MemoryWishes& wishes)
      : facts_(facts), wishes_(wishes) {}

  absl::StatusOr<MemoryPlan> Run() {
    const Choice wished = {wishes_.max_batch_rows, kMostHeadRows,
                           kMostRowsAhead,
                           static_cast<int64_t>(wishes_.kv_bytes / PageBytes()),
                           wishes_.ple_cache};
    if (wishes_.limit == 0) return PlanOf(wished);
    choice_ = Least(wished, {kFewestRows, kFewestHeadRows, kFewestRowsAhead,
                             PagesFor(kFewestPositions), kSmallestPleCache});
    const uint64_t smallest = PlanOf(choice_).Total();
    if (smallest > wishes_.limit) {
      return absl::ResourceExhaustedError(absl::StrCat(
          wishes_.flag, " is ", wishes_.limit,
          " bytes; the smallest that works with this model is ", smallest, ", ",
          facts_.weight_bytes, " of them for weights",
          ForMedia(facts_.image_bytes, "images", "vision"),
          ForMedia(facts_.sound_bytes, "sounds", "audio"),
          "; raise the limit or pack the model at a smaller --dtype"));
    }
    const Choice usual =
        Least(wished, {kUsualRows, kUsualHeadRows, kUsualRowsAhead,
                       PagesFor(kUsualPositions), kUsualPleCache});
    Raise(&Choice::kv_pages, usual);
    GrowSteps(usual);
    GrowSteps(wished);
    Raise(&Choice::kv_pages, wished);
    return PlanOf(choice_);
  }

 private:
  uint64_t PageBytes() const { return facts_.kv_layout.PageBytes(); }
  int64_t PagesFor(int64_t positions) const {
    return facts_.kv_layout.PagesFor(
        std::min(positions, facts_.config.max_position_embeddings));
  }

  static Choice Least(const Choice& a, const Choice& b) {
    return {std::min(a.rows, b.rows), std::min(a.head_rows, b.head_rows),
            std::min(a.rows_ahead, b.rows_ahead),
            std::min(a.kv_pages, b.kv_pages),
            std::min(a.ple_cache, b.ple_cache)};
  }

  void GrowSteps(const Choice& to) {
    Raise(&Choice::rows, to);
    Raise(&Choice::head_rows, to);
    Raise(&Choice::rows_ahead, to);
    Raise(&Choice::ple_cache, to);
  }

  // Raises a size towards `to` as far as the limit lets it.
  template <typename Size>
  void Raise(Size Choice::*size, const Choice& to) {
    Size fits = choice_.*size;
    Size above = to.*size + 1;
    while (above - fits > 1 && above > fits) {
      const Size middle = fits + (above - fits) / 2;
      choice_.*size = middle;
      (PlanOf(choice_).Total() <= wishes_.limit ? fits : above) = middle;
    }
    choice_.*size = fits;
  }

  MemoryPlan PlanOf(const Choice& choice) const {
    MemoryPlan plan;
    plan.limit = wishes_.limit;
    plan.weights = facts_.weight_bytes;
    plan.images = facts_.image_bytes;
    plan.sounds = facts_.sound_bytes;
    plan.kv_bytes = choice.kv_pages * PageBytes();
    plan.ple_cache = choice.ple_cache;
    plan.max_batch_rows = choice.rows;
    plan.max_running = std::min(wishes_.max_running, choice.rows);
    plan.head_rows = std::min(choice.head_rows, choice.rows);
    plan.prompt_rows_ahead = choice.rows_ahead;
    // A window that steps still use, beside the two of each prompt; and the
    // rows of answers.
    plan.ple_rows =
        (choice.rows_ahead * 3 / 2 + plan.max_running) * facts_.ple.RowBytes();
    plan.work_space =
        StepBytes(facts_.config, facts_.kv_layout,
                  {choice.rows, plan.head_rows,
                   facts_.config.max_position_embeddings, wishes_.threads});
    plan.runtime = kRuntimeBytes + plan.max_running * kRequestBytes +
                   std::min(kMostPinned, choice.ple_cache / 4 * kPleReaders);
    return plan;
  }

  const MemoryFacts& facts_;
  const MemoryWishes& wishes_;
  Choice choice_;
};

}  // namespace

absl::StatusOr<MemoryPlan> PlanMemory(const MemoryFacts& facts,
                                      const MemoryWishes& wishes) {
  return Planner(facts, wishes).Run();
}

absl::StatusOr<MemoryPlan> PlanMemoryWithImages(MemoryFacts facts,
                                                const MemoryWishes& wishes,
                                                const ImageMemory& images,
                                                ImageLimits* limits) {
  facts.image_bytes = images.tower_bytes + images.cache_bytes;
  if (!images.decodes) return PlanMemory(facts, wishes);
  const uint64_t without = facts.image_bytes;
  for (const int64_t megapixels : {50, 24, 12, 6, 3}) {
    limits->max_pixels = megapixels * 1'000'000;
    const uint64_t decoding = ImageLimits::kDecodingBytes * limits->max_pixels;
    if (wishes.limit > 0 && decoding > wishes.limit / 8) continue;
    facts.image_bytes = without + decoding;
    absl::StatusOr<MemoryPlan> plan = PlanMemory(facts, wishes);
    if (plan.ok()) return plan;
  }
  limits->max_pixels = 1'000'000;
  facts.image_bytes =
      without + ImageLimits::kDecodingBytes * limits->max_pixels;
  return PlanMemory(facts, wishes);
}

std::string MemoryPlanText(const MemoryPlan& plan) {
  return absl::StrCat(
      "limit=", plan.limit, " weights=", plan.weights, " images=", plan.images,
      " sounds=", plan.sounds, " kv=", plan.kv_bytes,
      " ple_cache=", plan.ple_cache, " ple_rows=", plan.ple_rows,
      " work_space=", plan.work_space, " runtime=", plan.runtime,
      " max_batch_rows=", plan.max_batch_rows,
      " max_running=", plan.max_running, " head_rows=", plan.head_rows,
      " prompt_rows_ahead=", plan.prompt_rows_ahead);
}

}  // namespace lapidary
