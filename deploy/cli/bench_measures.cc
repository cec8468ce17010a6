#include "deploy/cli/bench_measures.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <random>
#include <thread>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "deploy/cli/bench_client.h"

namespace lapidary::cli {
namespace {

// Before an answer that is measured from nothing, and in the first request,
// which brings pages in.
constexpr int64_t kShortPrompt = 16;
constexpr int64_t kWarmTokens = 8;
// Answers go on for so many tokens after the last that is measured: the memory
// is asked for then, while their keys and values are held.
constexpr int64_t kTokensAfter = 8;
// Longer prompts say how far they are.
constexpr int64_t kLongPrompt = 4096;
constexpr std::chrono::seconds kProgressInterval(5);

v1::StepTimes Difference(const v1::StepTimes& after,
                         const v1::StepTimes& before) {
  v1::StepTimes d;
  d.set_steps(after.steps() - before.steps());
  d.set_rows(after.rows() - before.rows());
  d.set_wait_ms(after.wait_ms() - before.wait_ms());
  d.set_round_trip_ms(after.round_trip_ms() - before.round_trip_ms());
  d.set_compute_ms(after.compute_ms() - before.compute_ms());
  d.set_gemm_ms(after.gemm_ms() - before.gemm_ms());
  d.set_attention_ms(after.attention_ms() - before.attention_ms());
  d.set_head_ms(after.head_ms() - before.head_ms());
  d.set_sampling_ms(after.sampling_ms() - before.sampling_ms());
  return d;
}

// Says now and then, from a thread of its own, how much of a long prompt has
// been computed.
class PromptWatch {
 public:
  PromptWatch(Connection* connection, int64_t tokens, std::string label,
              const std::function<void(absl::string_view)>& progress) {
    if (tokens <= kLongPrompt) return;
    thread_ = std::thread([=, this_ = this, label = std::move(label)] {
      uint64_t base = 0;
      if (auto status = AskStatus(connection); status.ok()) {
        base = status->prompt_steps().rows();
      }
      std::unique_lock<std::mutex> lock(this_->mutex_);
      while (!this_->wake_.wait_for(lock, kProgressInterval,
                                    [this_] { return this_->over_; })) {
        auto status = AskStatus(connection);
        if (!status.ok()) continue;
        progress(absl::StrCat(label, ": ", status->prompt_steps().rows() - base,
                              " of ", tokens, " prompt tokens"));
      }
    });
  }
  ~PromptWatch() { End(); }

  void End() {
    if (!thread_.joinable()) return;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      over_ = true;
    }
    wake_.notify_all();
    thread_.join();
  }

 private:
  std::mutex mutex_;
  std::condition_variable wake_;
  bool over_ = false;
  std::thread thread_;
};

class Bench {
 public:
  Bench(Connection* connection, const BenchPlan& plan,
        const BenchMachine& machine,
        const std::function<void(absl::string_view)>& progress)
      : connection_(connection),
        plan_(plan),
        machine_(machine),
        progress_(progress) {}

  absl::StatusOr<std::vector<BenchRow>> Run() {
    progress_("first request");
    auto warm = Send({Request(kShortPrompt, kWarmTokens)}, nullptr);
    if (!warm.ok()) return warm.status();
    for (const BenchRow& row : Rows()) {
      absl::Status measured = MeasureRow(row);
      if (!measured.ok()) return measured;
    }
    return rows_;
  }

 private:
  std::vector<BenchRow> Rows() const {
    std::vector<BenchRow> rows;
    for (int64_t tokens : plan_.prompts) {
      BenchRow row;
      row.name = absl::StrCat("pp", tokens);
      row.kind = BenchKind::kPrompt;
      row.prompt = tokens;
      row.tokens = 1;
      rows.push_back(std::move(row));
    }
    if (plan_.tokens > 0) {
      BenchRow row;
      row.name = absl::StrCat("tg", plan_.tokens);
      row.kind = BenchKind::kAnswer;
      row.prompt = kShortPrompt;
      row.tokens = plan_.tokens;
      rows.push_back(std::move(row));
    }
    for (int64_t depth : plan_.depths) {
      BenchRow row;
      row.name = absl::StrCat("tg", plan_.depth_tokens, "@", depth);
      row.kind = BenchKind::kAnswer;
      // A depth of the whole context has its answer at the context's end.
      const int64_t context = machine_.config().max_position_embeddings;
      row.prompt = depth == context
                       ? context - plan_.depth_tokens - kTokensAfter
                       : depth;
      row.tokens = plan_.depth_tokens;
      rows.push_back(std::move(row));
    }
    for (int64_t streams : plan_.streams) {
      BenchRow row;
      row.name = absl::StrCat(streams, streams == 1 ? " stream" : " streams");
      row.kind = BenchKind::kStreams;
      row.prompt = plan_.stream_prompt;
      row.tokens = plan_.stream_tokens;
      row.streams = streams;
      rows.push_back(std::move(row));
    }
    return rows;
  }

  v1::GenerateRequest Request(int64_t prompt, int64_t tokens) {
    std::mt19937_64 random(++requests_);
    const auto vocabulary =
        static_cast<uint64_t>(machine_.config().vocab_size_per_layer_input);
    v1::GenerateRequest request;
    request.set_model(connection_->model());
    auto* ids = request.mutable_prompt()->mutable_ids();
    for (int64_t i = 0; i < prompt; ++i) {
      ids->add_ids(static_cast<int32_t>(random() % vocabulary));
    }
    request.set_max_tokens(static_cast<int32_t>(tokens));
    request.set_ignore_eos(true);
    // Google's own advice for Gemma 3n.
    request.mutable_sampling()->set_temperature(1);
    request.mutable_sampling()->set_top_k(64);
    request.mutable_sampling()->set_top_p(0.95f);
    request.mutable_sampling()->set_seed(requests_);
    return request;
  }

  absl::StatusOr<std::vector<TimedAnswer>> Send(
      const std::vector<v1::GenerateRequest>& requests,
      const std::function<void(size_t)>& on_tokens) {
    return SendTogether(connection_, requests, on_tokens);
  }

  absl::Status MeasureRow(BenchRow row) {
    const bool deep = row.kind == BenchKind::kAnswer && row.prompt > 1024;
    const int64_t rounds = deep ? 1 : plan_.rounds;
    auto before = AskStatus(connection_);
    if (!before.ok()) return before.status();
    std::vector<BenchMachine::Rates> readings;
    std::vector<double> whole;
    for (int64_t round = 0; round <= rounds; ++round) {
      auto measured = machine_.Measure();
      if (!measured.ok()) return measured.status();
      readings.push_back(*std::move(measured));
      if (round == rounds) break;
      progress_(absl::StrCat(row.name, ", round ", round + 1, " of ", rounds));
      absl::Status run = MeasureRound(&row, &whole);
      if (!run.ok()) return run;
    }
    auto after = AskStatus(connection_);
    if (!after.ok()) return after.status();
    row.steps = row.kind == BenchKind::kPrompt
                    ? Difference(after->prompt_steps(), before->prompt_steps())
                    : Difference(after->decode_steps(), before->decode_steps());
    if (row.kind == BenchKind::kPrompt) row.memory = after->memory();
    row.tokens_per_second = Median(row.rounds);
    row.whole_tokens_per_second = Median(whole);
    const int64_t position = row.prompt + row.tokens / 2;
    row.limit =
        LimitOf(row.kind == BenchKind::kPrompt
                    ? machine_.PromptWork(row.prompt)
                    : machine_.TokenWork(row.streams, position,
                                         after->memory().weights_per_token()),
                BestAroundRounds(readings));
    rows_.push_back(std::move(row));
    return absl::OkStatus();
  }

  absl::Status MeasureRound(BenchRow* row, std::vector<double>* whole) {
    const bool prompt = row->kind == BenchKind::kPrompt;
    const int64_t tokens = prompt ? 1 : row->tokens + kTokensAfter;
    std::vector<v1::GenerateRequest> requests;
    for (int64_t i = 0; i < row->streams; ++i) {
      requests.push_back(Request(row->prompt, tokens));
    }
    PromptWatch watch(connection_, row->prompt, row->name, progress_);
    bool asked = prompt;
    auto answers = Send(requests, [&](size_t so_far) {
      watch.End();
      if (asked || static_cast<int64_t>(so_far) <= row->tokens) return;
      asked = true;
      auto status = AskStatus(connection_);
      if (status.ok()) row->memory = status->memory();
    });
    if (!answers.ok()) return answers.status();
    for (const TimedAnswer& answer : *answers) {
      if (static_cast<int64_t>(answer.tokens.size()) == tokens) continue;
      return absl::InternalError(absl::StrCat(row->name, ": an answer of ",
                                              tokens, " tokens had ",
                                              answer.tokens.size()));
    }
    switch (row->kind) {
      case BenchKind::kPrompt:
        row->rounds.push_back(
            1000 * row->prompt /
            answers->front().timings.time_to_first_token_ms());
        break;
      case BenchKind::kAnswer:
        row->rounds.push_back(
            row->tokens / SecondsBetween(answers->front().tokens.front(),
                                         answers->front().tokens[row->tokens]));
        break;
      case BenchKind::kStreams:
        return AddStreams(*answers, plan_.whole_streams, row, whole);
    }
    return absl::OkStatus();
  }

  // What all streams draw between the last one's first token and the first
  // one's last, or if `only_whole` from the first request to the last token.
  static absl::Status AddStreams(const std::vector<TimedAnswer>& answers,
                                 bool only_whole, BenchRow* row,
                                 std::vector<double>* whole) {
    BenchTime sent = answers.front().sent;
    BenchTime from = answers.front().tokens.front();
    BenchTime to = answers.front().tokens[row->tokens];
    BenchTime last = to;
    for (const TimedAnswer& answer : answers) {
      sent = std::min(sent, answer.sent);
      from = std::max(from, answer.tokens.front());
      to = std::min(to, answer.tokens[row->tokens]);
      last = std::max(last, answer.tokens[row->tokens]);
    }
    if (to <= from && !only_whole) {
      return absl::FailedPreconditionError(absl::StrCat(
          row->name, ": the first answer ended before the last one began, so ",
          "that they never ran all at once; give --stream-tokens more than ",
          row->tokens));
    }
    int64_t within = 0;
    int64_t all = 0;
    for (const TimedAnswer& answer : answers) {
      for (int64_t i = 0; i <= row->tokens; ++i) {
        ++all;
        if (answer.tokens[i] > from && answer.tokens[i] <= to) ++within;
      }
    }
    whole->push_back(all / SecondsBetween(sent, last));
    row->rounds.push_back(only_whole ? whole->back()
                                     : within / SecondsBetween(from, to));
    return absl::OkStatus();
  }

  Connection* connection_;
  const BenchPlan& plan_;
  const BenchMachine& machine_;
  const std::function<void(absl::string_view)>& progress_;
  uint64_t requests_ = 0;
  std::vector<BenchRow> rows_;
};

}  // namespace

absl::StatusOr<std::vector<BenchRow>> RunBench(
    Connection* connection, const BenchPlan& plan, const BenchMachine& machine,
    const std::function<void(absl::string_view line)>& progress) {
  const int64_t context = machine.config().max_position_embeddings;
  for (const auto& [lengths, tokens] :
       {std::pair(plan.prompts, int64_t{1}),
        std::pair(plan.depths, plan.depth_tokens + kTokensAfter),
        std::pair(std::vector<int64_t>{kShortPrompt},
                  plan.tokens + kTokensAfter),
        std::pair(std::vector<int64_t>{plan.stream_prompt},
                  plan.stream_tokens + kTokensAfter)}) {
    for (int64_t length : lengths) {
      if (length + tokens <= context) continue;
      if (length == context && tokens < context) continue;
      return absl::OutOfRangeError(
          absl::StrCat("a prompt of ", length, " tokens and an answer of ",
                       tokens, " do not fit the model's context of ", context,
                       "; leave that measure out"));
    }
  }
  return Bench(connection, plan, machine, progress).Run();
}

}  // namespace lapidary::cli
