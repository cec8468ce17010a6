// Which prefix a request begins with, what the stages are told to keep and to
// drop, and that the pages add up: the cache alone, against a stage's books
// that the test keeps.
#include "actors/prefix_cache.h"

#include <algorithm>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

namespace lapidary {
namespace {

// A full layer, and two whose window is two blocks.
kernels::KvLayout Layout() {
  kernels::KvLayout layout;
  layout.kv_width = 4;
  layout.layers = {{0, 100}, {1, 0}, {2, 128}};
  return layout;
}

using Ids = std::vector<int32_t>;

// `blocks` of 64 tokens each, block n all of the id blocks[n], and `rest` more.
Ids Prompt(const Ids& blocks, int rest) {
  Ids ids;
  for (int32_t id : blocks) ids.insert(ids.end(), 64, id);
  ids.insert(ids.end(), rest, 99);
  return ids;
}

// The cache beside a stage that keeps what it is told to, and counts pages as
// the pool does (kv_cache.h).
class Bench {
 public:
  Bench(int64_t total, int64_t max_pages)
      : total_(total), cache_(Layout(), max_pages) {}

  static kernels::Tensor Rows(int64_t rows) {
    return kernels::Tensor(kernels::DType::kF32, {rows, 1, 1},
                           kernels::AlignedBuffer::Make(rows * 4));
  }

  PrefixCache& cache() { return cache_; }

  std::vector<SoftTokens> soft_tokens;  // of prompts that start from now on

  // Null: it must wait.
  Sequence* Start(SequenceId id, const Ids& prompt, bool no_cache = false,
                  Task task = Task::kGenerate) {
    Submit submit;
    submit.sequence = id;
    submit.task = task;
    submit.tokens = prompt;
    submit.max_tokens = 100;
    submit.no_prefix_cache = no_cache;
    submit.soft_tokens = soft_tokens;
    auto sequence = std::make_unique<Sequence>(submit, ClientActor(), Now());
    sequence->pages = Layout().PagesFor(sequence->max_positions());
    if (!cache_.Admit(*sequence, total_ - reserved_ - sequence->pages)) {
      return nullptr;
    }
    reserved_ += sequence->pages;
    Sequence* started = sequence.get();
    running_[id] = std::move(sequence);
    EXPECT_LE(reserved_ + cache_.extra_pages(), total_);
    return started;
  }

  // Runs `rows` rows of each of these, in one step.
  void Run(const std::map<SequenceId, int64_t>& rows_of,
           const std::set<BlockHandle>& declined = {}, bool fails = false) {
    Step step;
    for (const auto& [id, rows] : rows_of) {
      Sequence& sequence = *running_.at(id);
      sequence.RowsArrived(sequence.computed(), Rows(rows), Now());
      step.sequences.push_back(sequence.Take(rows, Now()));
      cache_.Plan(sequence, total_ - reserved_, &step.sequences.back());
    }
    cache_.PlanDrops(&step);
    for (BlockHandle handle : step.drop_blocks) kept_.erase(handle);
    for (BlockHandle handle : step.drop_windows) {
      if (kept_.count(handle) != 0) kept_[handle].window = false;
    }
    for (const StepRows& rows : step.sequences) {
      if (rows.start.has_value()) CheckStart(*rows.start);
    }
    EXPECT_LE(reserved_ + cache_.extra_pages(), total_);
    EXPECT_LE(cache_.Status().pages, cache_.Status().max_pages);
    for (const StepRows& rows : step.sequences) {
      StepRowsResult result;
      result.sequence = rows.sequence;
      if (fails) result.status = absl::InternalError("x");
      for (const KeepBlock& block : rows.keep) {
        last_kept_ = block.handle;
        if (fails) continue;
        if (declined.count(block.handle) != 0) {
          result.not_kept.push_back(block.handle);
          continue;
        }
        const Ids history =
            running_.at(rows.sequence)->TokensAt(0, (block.number + 1) * 64);
        auto [it, fresh] = kept_.insert({block.handle, {history, true}});
        EXPECT_TRUE(fresh || !it->second.window);  // nothing is kept twice
        EXPECT_EQ(it->second.history, history);
        it->second.window = true;
      }
      cache_.Settle(result);
      running_.at(rows.sequence)->StepDone(1, Now());
    }
  }

  // Runs all that is left of the prompt, in chunks.
  void Prefill(SequenceId id) {
    Sequence& sequence = *running_.at(id);
    while (sequence.computed() < sequence.known_positions()) {
      Run({{id, std::min<int64_t>(
                    150, sequence.known_positions() - sequence.computed())}});
    }
  }

  void End(SequenceId id) {
    cache_.Leave(id);
    reserved_ -= running_.at(id)->pages;
    running_.erase(id);
  }

  // Runs a request to the end of its prompt; the tokens that it reused.
  int64_t Serve(SequenceId id, const Ids& prompt) {
    Sequence* sequence = Start(id, prompt);
    if (sequence == nullptr) return -1;
    const int64_t reused = sequence->reused_positions();
    Prefill(id);
    End(id);
    return reused;
  }

  size_t kept() const { return kept_.size(); }
  BlockHandle last_kept() const { return last_kept_; }
  const std::map<SequenceId, std::unique_ptr<Sequence>>& running() const {
    return running_;
  }

 private:
  struct Kept {
    Ids history;  // up to its end
    bool window = false;
  };

  static Sequence::Time Now() { return Sequence::Time(); }

  // All of its blocks are kept, are those of its tokens, and the last have
  // their windows.
  void CheckStart(const SequenceStart& start) {
    const auto count = static_cast<int64_t>(start.prefix.size());
    ASSERT_EQ(static_cast<int64_t>(start.prefix_tokens.size()), count * 64);
    for (int64_t n = 0; n < count; ++n) {
      ASSERT_EQ(kept_.count(start.prefix[n]), 1u);
      const Kept& kept = kept_[start.prefix[n]];
      ASSERT_EQ(kept.history, Ids(start.prefix_tokens.begin(),
                                  start.prefix_tokens.begin() + (n + 1) * 64));
      ASSERT_TRUE(n < count - 2 || kept.window) << n << " of " << count;
    }
  }

  int64_t total_;
  int64_t reserved_ = 0;
  PrefixCache cache_;
  std::map<BlockHandle, Kept> kept_;
  std::map<SequenceId, std::unique_ptr<Sequence>> running_;
  BlockHandle last_kept_ = 0;
};

TEST(PrefixCacheTest, TheNextTurnOfAChatBeginsWhereTheLastBlockEnded) {
  Bench bench(1000, 500);
  Sequence* first = bench.Start(1, Prompt({1, 2, 3}, 10));
  bench.Prefill(1);
  for (int i = 0; i < 70; ++i) {
    first->AddToken(99, {});
    bench.Run({{1, 1}});
  }
  first->AddToken(7, {});  // drawn, never run
  bench.End(1);
  Ids turn = Prompt({1, 2, 3}, 80);
  turn.push_back(7);
  turn.insert(turn.end(), 30, 8);
  EXPECT_EQ(bench.Serve(2, turn), 4 * 64);
  EXPECT_EQ(bench.cache().Status().hits, 1u);
  EXPECT_EQ(bench.cache().Status().lookups, 2u);
  EXPECT_EQ(bench.cache().Status().tokens_reused, 256u);
}

TEST(PrefixCacheTest, QuestionsBehindOneSystemPromptShareIt) {
  Bench bench(1000, 500);
  EXPECT_EQ(bench.Serve(1, Prompt({1, 2, 3, 4, 5}, 10)), 0);
  EXPECT_EQ(bench.Serve(2, Prompt({1, 2, 3, 6, 7}, 10)), 3 * 64);
  // Of a sequence that is still running, too.
  bench.Start(3, Prompt({1, 2, 3, 6, 8, 9}, 10));
  bench.Prefill(3);
  EXPECT_EQ(bench.Serve(4, Prompt({1, 2, 3, 6, 8, 7}, 10)), 5 * 64);
}

TEST(PrefixCacheTest, TheLastTokenOfAPromptAlwaysRuns) {
  Bench bench(1000, 500);
  bench.Serve(1, Prompt({1, 2, 3}, 0));
  EXPECT_EQ(bench.Serve(2, Prompt({1, 2, 3}, 0)), 2 * 64);
  EXPECT_EQ(bench.Serve(3, Prompt({1, 2, 3}, 1)), 3 * 64);
}

TEST(PrefixCacheTest, OnlyWholeEqualBlocksAreReused) {
  Bench bench(1000, 500);
  bench.Serve(1, Prompt({1, 2, 3}, 10));
  Ids other = Prompt({1, 2, 3}, 10);
  other[100] = 5;
  EXPECT_EQ(bench.Serve(2, other), 64);
  EXPECT_EQ(bench.Serve(3, Prompt({2, 3}, 10)), 0);
}

// `rows` rows of one number, from `position` on.
SoftTokens Picture(int32_t position, int64_t rows, float number) {
  auto values = std::make_shared<const std::vector<float>>(rows * 8, number);
  return {position, kernels::Tensor(kernels::DType::kF32, {rows, 8},
                                    values->data(), values)};
}

TEST(PrefixCacheTest, SoftTokensAreComparedByWhatTheyAre) {
  Bench bench(1000, 500);
  const Ids prompt = Prompt({1, 2, 3, 4}, 10);
  bench.soft_tokens = {Picture(70, 100, 0.5f)};
  EXPECT_EQ(bench.Serve(1, prompt), 0);
  bench.soft_tokens = {Picture(70, 100, 0.5f)};
  EXPECT_EQ(bench.Serve(2, prompt), 4 * 64);
  bench.soft_tokens = {Picture(70, 100, 0.25f)};
  EXPECT_EQ(bench.Serve(3, prompt), 64);
  // The same ones a place later; in two parts; and none at all.
  bench.soft_tokens = {Picture(71, 100, 0.5f)};
  EXPECT_EQ(bench.Serve(4, prompt), 64);
  bench.soft_tokens = {Picture(70, 60, 0.5f), Picture(130, 40, 0.5f)};
  EXPECT_EQ(bench.Serve(5, prompt), 4 * 64);
  bench.soft_tokens.clear();
  EXPECT_EQ(bench.Serve(6, prompt), 64);
}

TEST(PrefixCacheTest, ASequenceThatBeginsAnewHasItsSoftTokensStill) {
  Bench bench(1000, 500);
  bench.soft_tokens = {Picture(10, 100, 0.5f)};
  const Ids prompt = Prompt({1, 2, 3}, 10);
  EXPECT_EQ(bench.Serve(1, prompt), 0);
  Sequence* again = bench.Start(2, prompt);
  ASSERT_EQ(again->computed(), 3 * 64);
  again->BeginAnew();
  again->RowsArrived(0, Bench::Rows(64), {});
  EXPECT_EQ(again->Take(64, {}).soft_tokens.size(), 1u);
}

TEST(PrefixCacheTest, ScoringAndRequestsThatSayNo_NeitherTakeNorLeave) {
  Bench bench(1000, 500);
  bench.Start(1, Prompt({1, 2}, 10), /*no_cache=*/true);
  bench.Prefill(1);
  bench.Start(2, Prompt({1, 2}, 10), false, Task::kScore);
  bench.Prefill(2);
  EXPECT_EQ(bench.kept(), 0u);
  bench.Serve(3, Prompt({1, 2}, 10));
  EXPECT_EQ(bench.Start(4, Prompt({1, 2}, 10), true)->reused_positions(), 0);
  EXPECT_EQ(bench.Start(5, Prompt({1, 2}, 10), false, Task::kScore)
                ->reused_positions(),
            0);
  EXPECT_EQ(bench.cache().Status().lookups, 1u);
}

TEST(PrefixCacheTest, SwitchedOffItKeepsNothing) {
  Bench bench(1000, 0);
  EXPECT_EQ(bench.Serve(1, Prompt({1, 2}, 10)), 0);
  EXPECT_EQ(bench.Serve(2, Prompt({1, 2}, 10)), 0);
  EXPECT_EQ(bench.kept(), 0u);
  EXPECT_EQ(bench.cache().Status().lookups, 0u);
}

TEST(PrefixCacheTest, ShortOfMemory_TheEndsOfPromptsStayLongest) {
  // Ten blocks of three pages; five more pages.
  Bench bench(1000, 35);
  bench.Serve(1, Prompt({1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, 10));
  bench.Serve(2, Prompt({20, 21, 22, 23, 24}, 10));
  EXPECT_GT(bench.cache().Status().evictions, 0u);
  EXPECT_EQ(bench.Serve(3, Prompt({1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, 20)), 640);
  EXPECT_EQ(bench.Serve(4, Prompt({20, 21, 22, 23, 24}, 20)), 320);
}

TEST(PrefixCacheTest, APlaceWherePromptsBranchGetsItsWindowBack) {
  Bench bench(1000, 27);
  bench.Serve(1, Prompt({1, 2, 3, 4, 5, 6, 7, 8, 9}, 10));
  // Pushes the windows in the first one's middle out.
  bench.Serve(2, Prompt({30, 31, 32, 33}, 10));
  EXPECT_EQ(bench.Serve(3, Prompt({1, 2, 3, 4, 5, 40}, 10)), 0);
  EXPECT_EQ(bench.Serve(4, Prompt({1, 2, 3, 4, 5, 41}, 10)), 320);
}

TEST(PrefixCacheTest, TheLongestUnusedGoesFirst) {
  Bench bench(1000, 12);
  bench.Serve(1, Prompt({1, 2}, 10));
  bench.Serve(2, Prompt({3, 4}, 10));
  bench.Serve(3, Prompt({1, 2}, 20));
  bench.Serve(4, Prompt({5, 6}, 10));
  EXPECT_EQ(bench.Serve(5, Prompt({1, 2}, 30)), 128);
  EXPECT_EQ(bench.Serve(6, Prompt({3, 4}, 30)), 0);
}

TEST(PrefixCacheTest, APromptLongerThanTheCacheKeepsItsFirstBlocksUsable) {
  Bench bench(1000, 12);
  Ids blocks;
  for (int i = 0; i < 30; ++i) blocks.push_back(i);
  bench.Serve(1, Prompt(blocks, 10));
  EXPECT_GE(bench.Serve(2, Prompt(blocks, 20)), 5 * 64);
}

TEST(PrefixCacheTest, RequestsComeBeforeTheCache) {
  // Pages for one request of ten blocks, and none to spare.
  const Ids prompt = Prompt({1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, 10);
  const int64_t pages = Layout().PagesFor(650 + 99);
  Bench bench(pages, pages);
  ASSERT_NE(bench.Start(1, prompt), nullptr);
  bench.Prefill(1);
  EXPECT_EQ(bench.Start(2, prompt), nullptr);
  bench.End(1);
  ASSERT_NE(bench.Start(3, Prompt({20, 21, 22, 23, 24, 25, 26, 27, 28}, 70)),
            nullptr);
  EXPECT_EQ(bench.cache().extra_pages(), 0);
}

TEST(PrefixCacheTest, SharingLetsMoreRequestsRun) {
  Bench bench(60, 60);
  const Ids blocks = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10};  // 12 + 4 pages each
  bench.Serve(1, Prompt(blocks, 10));
  SequenceId id = 2;
  while (bench.Start(id, Prompt(blocks, 10)) != nullptr) bench.Prefill(id++);
  EXPECT_GT(id - 2, 60u / 16);
}

TEST(PrefixCacheTest, WhatAStageDidNotKeepIsNotOffered) {
  Bench bench(1000, 500);
  bench.Start(1, Prompt({1, 2, 3}, 10));
  bench.Run({{1, 64}});
  bench.Run({{1, 64}}, {bench.last_kept() + 1});
  bench.Run({{1, 64}});
  bench.End(1);
  EXPECT_EQ(bench.Serve(2, Prompt({1, 2, 3}, 20)), 64);
  bench.Start(3, Prompt({7, 8}, 10));
  bench.Run({{3, 138}}, {}, /*fails=*/true);
  bench.End(3);
  EXPECT_EQ(bench.Serve(4, Prompt({7, 8}, 20)), 0);
}

TEST(PrefixCacheTest, ABlockThatAStageLacksIsForgotten_WithAllBehindIt) {
  Bench bench(1000, 500);
  bench.Serve(1, Prompt({1, 2, 3}, 10));
  Sequence* second = bench.Start(2, Prompt({1, 2, 3}, 20));
  ASSERT_EQ(second->reused_positions(), 192);
  bench.cache().Missing(2, bench.last_kept() - 1);
  second->BeginAnew();
  ASSERT_TRUE(bench.cache().Admit(*second, 900));
  EXPECT_EQ(second->reused_positions(), 0);
  bench.End(2);
  EXPECT_EQ(bench.Serve(3, Prompt({1, 2, 3}, 30)), 64);
}

// Requests over few different blocks that start, run in chunks of any size and
// end in any order, with steps that fail and blocks that the stage declines.
TEST(PrefixCacheTest, RandomTraffic_AddsUpAtEveryStep) {
  std::mt19937 random(5);
  const auto below = [&](int64_t n) {
    return static_cast<int64_t>(random() % n);
  };
  Bench bench(90, 50);
  SequenceId next = 1;
  int64_t refused = 0;
  for (int turn = 0; turn < 6000 && !::testing::Test::HasFailure(); ++turn) {
    std::vector<SequenceId> ids;
    for (const auto& entry : bench.running()) ids.push_back(entry.first);
    const int64_t what = below(10);
    if (what < 3) {
      Ids blocks;
      for (int64_t n = below(9); n > 0; --n) {
        blocks.push_back(static_cast<int32_t>(below(2)));
      }
      if (bench.Start(next, Prompt(blocks, 1 + below(60))) == nullptr) {
        ++refused;
      }
      ++next;
    } else if (what < 4 && !ids.empty()) {
      bench.End(ids[below(ids.size())]);
    } else if (!ids.empty()) {
      std::map<SequenceId, int64_t> rows;
      for (SequenceId id : ids) {
        Sequence& sequence = *bench.running().at(id);
        const int64_t left = sequence.known_positions() - sequence.computed();
        if (left > 0 && below(2) == 0) rows[id] = 1 + below(left);
        if (left == 0 && sequence.completion_tokens() < 99) {
          sequence.AddToken(static_cast<int32_t>(below(2)), {});
        }
      }
      std::set<BlockHandle> declined;
      if (below(10) == 0) declined = {bench.last_kept() + 1};
      if (!rows.empty()) bench.Run(rows, declined, below(40) == 0);
    }
  }
  EXPECT_GT(refused, 0);
  EXPECT_GT(bench.cache().Status().hits, 100u);
  EXPECT_GT(bench.cache().Status().evictions, 100u);
  while (!bench.running().empty()) bench.End(bench.running().begin()->first);
  EXPECT_EQ(bench.cache().extra_pages(), bench.cache().Status().pages);
}

}  // namespace
}  // namespace lapidary
