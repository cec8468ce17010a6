// The stage under a scheduler that cuts steps at random: any sequences beside
// each other, any number of their rows, and sequences that are dropped and
// begun again from prompt and drawn tokens. Whatever the steps, int8 and int4
// models draw the same tokens with the same log-probabilities to the bit.
#include <algorithm>
#include <chrono>
#include <cstring>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "actors/stage.h"
#include "caf/all.hpp"
#include "gtest/gtest.h"
#include "storage/packed_model.h"
#include "storage/ple_store.h"
#include "tests/actors/nano_node.h"

namespace lapidary {
namespace {

using kernels::DType;

constexpr int64_t kStepRows = 512;

// What is asked for, and what came of it so far.
struct Work {
  std::vector<int32_t> tokens;  // the prompt, then what was drawn
  size_t prompt = 0;            // tokens
  int max_drawn = 0;            // 0: the prompt is scored instead
  kernels::SamplingParams sampling;

  SequenceId id = 0;
  int64_t computed = 0;
  bool started = false;
  std::vector<TokenResult> results;

  bool scores() const { return max_drawn == 0; }
  int64_t known() const { return tokens.size() - (scores() ? 1 : 0); }
  bool finished() const {
    return scores() ? computed == known() : tokens.size() == prompt + max_drawn;
  }
};

std::vector<Work> SomeWork(int count) {
  std::mt19937 random(9);
  std::vector<Work> all(count);
  for (Work& work : all) {
    work.id = &work - all.data() + 1;
    work.prompt = 2 + random() % (random() % 6 == 0 ? 600 : 70);
    for (size_t i = 0; i < work.prompt; ++i) {
      work.tokens.push_back(4 + random() % 3000);
    }
    if (random() % 5 == 0) continue;
    work.max_drawn = 1 + random() % 30;
    work.sampling.seed = random();
    work.sampling.temperature = random() % 3 == 0 ? 0 : 1.5f;
    work.sampling.top_k = random() % 2 == 0 ? 0 : 40;
    work.sampling.repetition_penalty = random() % 2 == 0 ? 1 : 1.3f;
  }
  return all;
}

// Every bit of what was said of a token.
std::string BitsOf(const TokenResult& token) {
  const auto bits = [](float value) {
    uint32_t whole;
    std::memcpy(&whole, &value, sizeof(whole));
    return absl::StrCat(" ", absl::Hex(whole));
  };
  std::string text = absl::StrCat(token.id, bits(token.logprob.value_or(1)));
  for (const kernels::TokenLogProb& top : token.top) {
    absl::StrAppend(&text, ", ", top.id, bits(top.logprob));
  }
  return text;
}

class StepDriver {
 public:
  StepDriver(DType dtype, DType kv_dtype, int threads) {
    auto model = PackedModel::Open(PackedNano(dtype), {});
    EXPECT_TRUE(model.ok()) << model.status();
    model_ = *std::move(model);
    auto store = PleStore::Open(model_->ple_folder(), model_->ple_shape(), {});
    EXPECT_TRUE(store.ok()) << store.status();
    ple_ = *std::move(store);
    layers_ = {0, model_->config().text.num_hidden_layers};
    StageConfig config;
    config.model = model_;
    config.layers = layers_;
    config.options.max_rows = kStepRows;
    config.options.kv_dtype = kv_dtype;
    config.kv_pages = 8192;
    config.threads = threads;
    stage_ = system_.spawn<caf::detached>(Stage, config);
    const Started started = Ask<Started>(Start{});
    EXPECT_TRUE(started.status.ok()) << started.status;
  }

  ~StepDriver() {
    caf::anon_send_exit(stage_, caf::exit_reason::user_shutdown);
  }

  // One step that runs `rows[i]` rows of `works[i]`.
  void Run(const std::vector<Work*>& works, const std::vector<int64_t>& rows) {
    Step step{++number_, layers_, {}};
    for (size_t i = 0; i < works.size(); ++i) {
      step.sequences.push_back(RowsOf(*works[i], rows[i]));
    }
    const StepResult result = Ask<StepResult>(step);
    ASSERT_EQ(result.sequences.size(), works.size());
    for (size_t i = 0; i < works.size(); ++i) {
      const StepRowsResult& got = result.sequences[i];
      ASSERT_TRUE(got.status.ok()) << got.status;
      Work& work = *works[i];
      work.computed += rows[i];
      for (const TokenResult& token : got.scored) {
        work.results.push_back(token);
      }
      if (got.sampled.has_value()) {
        work.results.push_back(*got.sampled);
        work.tokens.push_back(got.sampled->id);
      }
      if (work.finished()) Drop(work);
    }
  }

  // The stage forgets the sequence; its next rows begin it again. Scores are
  // given from its first row on.
  void Drop(Work& work) {
    Ask<StageGauges>(Release{{work.id}, false});
    work.started = false;
    if (work.finished()) return;
    work.computed = 0;
    if (work.scores()) work.results.clear();
  }

 private:
  StepRows RowsOf(Work& work, int64_t count) {
    StepRows rows;
    rows.sequence = work.id;
    rows.first_position = static_cast<int32_t>(work.computed);
    rows.token_ids = {work.tokens.begin() + work.computed,
                      work.tokens.begin() + work.computed + count};
    if (!work.started) {
      rows.start =
          SequenceStart{static_cast<int64_t>(work.prompt) + work.max_drawn,
                        work.sampling, work.scores() ? 0 : work.results.size()};
      replayed_to_[work.id] = work.tokens.size();
      work.started = true;
    }
    auto ple = ple_->Read(rows.token_ids, layers_);
    EXPECT_TRUE(ple.ok()) << ple.status();
    rows.ple_rows = *std::move(ple);
    rows.top_logprobs = 3;
    const int64_t end = work.computed + count;
    if (work.scores()) {
      rows.targets = {work.tokens.begin() + work.computed + 1,
                      work.tokens.begin() + end + 1};
    } else {
      rows.is_prompt = end <= static_cast<int64_t>(replayed_to_.at(work.id));
      rows.sample = end == work.known();
    }
    return rows;
  }

  template <typename Reply, typename Question>
  Reply Ask(Question question) {
    Reply reply;
    self_->request(stage_, std::chrono::seconds(60), std::move(question))
        .receive(
            [&](const Reply& got) { reply = got; },
            [&](caf::error& error) { ADD_FAILURE() << system_.render(error); });
    return reply;
  }

  std::shared_ptr<const PackedModel> model_;
  std::unique_ptr<PleStore> ple_;
  kernels::text::LayerRange layers_;
  uint64_t number_ = 0;
  // Tokens that a sequence had when it was last begun: its sampler sees them
  // when they are run.
  std::map<SequenceId, size_t> replayed_to_;
  caf::actor_system_config system_config_;
  caf::actor_system system_{system_config_};
  StageActor stage_;
  caf::scoped_actor self_{system_};
};

struct Kind {
  DType dtype;
  DType kv_dtype;
};

class AnySteps : public testing::TestWithParam<Kind> {
 protected:
  // Each by itself: its prompt in as few steps as can be, then row by row.
  static std::vector<Work> Alone() {
    std::vector<Work> works = SomeWork(kWorks);
    StepDriver driver(GetParam().dtype, GetParam().kv_dtype, 1);
    for (Work& work : works) {
      while (!work.finished() && !testing::Test::HasFailure()) {
        driver.Run({&work},
                   {std::min(kStepRows, work.known() - work.computed)});
      }
    }
    return works;
  }

  // A few at a time, each with a random part of what it could run.
  static std::vector<Work> Together(int threads, uint32_t seed) {
    std::mt19937 random(seed);
    std::vector<Work> works = SomeWork(kWorks);
    std::shuffle(works.begin(), works.end(), random);
    StepDriver driver(GetParam().dtype, GetParam().kv_dtype, threads);
    size_t entered = 0;
    std::vector<Work*> inside;
    while ((entered < works.size() || !inside.empty()) &&
           !testing::Test::HasFailure()) {
      while (entered < works.size() && random() % 3 != 0) {
        inside.push_back(&works[entered++]);
      }
      std::vector<Work*> chosen;
      std::vector<int64_t> rows;
      int64_t room = kStepRows;
      for (Work* work : inside) {
        if (random() % 3 == 0) continue;
        if (random() % 40 == 0 && work->started) driver.Drop(*work);
        const int64_t ready = std::min(work->known() - work->computed, room);
        if (ready == 0) break;
        const int64_t most =
            std::min<int64_t>(ready, random() % 2 == 0 ? kStepRows : 20);
        chosen.push_back(work);
        rows.push_back(1 + random() % most);
        room -= rows.back();
      }
      if (!chosen.empty()) driver.Run(chosen, rows);
      inside.erase(std::remove_if(inside.begin(), inside.end(),
                                  [](Work* work) { return work->finished(); }),
                   inside.end());
    }
    std::sort(works.begin(), works.end(),
              [](const Work& a, const Work& b) { return a.id < b.id; });
    return works;
  }

  static constexpr int kWorks = 60;
};

INSTANTIATE_TEST_SUITE_P(Kinds, AnySteps,
                         testing::Values(Kind{DType::kInt8, DType::kF32},
                                         Kind{DType::kInt4, DType::kBf16}),
                         [](const auto& info) {
                           return absl::StrCat(NameOf(info.param.dtype),
                                               "WithKv",
                                               NameOf(info.param.kv_dtype));
                         });

TEST_P(AnySteps, GiveTheBitsOfAlone) {
  const std::vector<Work> alone = Alone();
  for (const int threads : {1, 2}) {
    const std::vector<Work> together = Together(threads, 100 + threads);
    for (size_t i = 0; i < alone.size(); ++i) {
      ASSERT_EQ(together[i].tokens, alone[i].tokens)
          << "sequence " << i << ", " << threads << " threads";
      ASSERT_EQ(together[i].results.size(), alone[i].results.size());
      for (size_t at = 0; at < alone[i].results.size(); ++at) {
        ASSERT_EQ(BitsOf(together[i].results[at]), BitsOf(alone[i].results[at]))
            << "sequence " << i << ", token " << at << ", " << threads
            << " threads";
      }
    }
  }
}

}  // namespace
}  // namespace lapidary
