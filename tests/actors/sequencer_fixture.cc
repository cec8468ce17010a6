#include "tests/actors/sequencer_fixture.h"

#include <chrono>
#include <utility>

#include "gtest/gtest.h"

namespace lapidary {
kernels::Tensor RowsOfPle(int64_t count) {
  auto buffer = kernels::AlignedBuffer::Make(count * kLayers * kWidth * 2);
  return kernels::Tensor(kernels::DType::kBf16, {count, kLayers, kWidth},
                         buffer);
}

StepResult Answer(Seen& seen, const Step& step) {
  StepResult result;
  result.number = step.number;
  result.compute_ns = 1000;
  result.gauges.pages_total = 100;
  for (const StepRows& rows : step.sequences) {
    StepRowsResult& one = result.sequences.emplace_back();
    one.sequence = rows.sequence;
    if (rows.sample) one.sampled = TokenResult{seen.next_token, {}, {}};
    for (int32_t target : rows.targets) {
      one.scored.push_back(TokenResult{target, -1.0f, {}});
    }
  }
  return result;
}

StepResult TimedAnswer(Seen& seen, const Step& step) {
  StepResult result = Answer(seen, step);
  result.compute_ns = 0;
  bool decodes = false;
  for (const StepRows& rows : step.sequences) {
    const auto count = static_cast<int64_t>(rows.token_ids.size());
    decodes = decodes || count == 1;
    if (count > 1) result.compute_ns += 1000000 * count;
  }
  if (decodes) result.compute_ns += 60000000;
  return result;
}

FakeStageActor::behavior_type FakeStage(FakeStageActor::pointer self,
                                        std::shared_ptr<Seen> seen) {
  return {
      [=](const StepResult& result) {
        seen->unanswered.front().deliver(result);
        seen->unanswered.pop_front();
      },
      [](const Start&) { return Started{}; },
      [=](const Step& step) -> caf::result<StepResult> {
        seen->steps.push_back(step);
        seen->stage_log.push_back("step");
        if (seen->answer_steps) return Answer(*seen, step);
        auto promise = self->make_response_promise<StepResult>();
        seen->unanswered.push_back(promise);
        return promise;
      },
      [=](const Release& release) {
        for (SequenceId id : release.sequences) {
          seen->stage_log.push_back("release " + std::to_string(id));
        }
        StageGauges gauges;
        gauges.pages_total = 100;
        return gauges;
      },
  };
}

FakePleActor::behavior_type FakePleServer(FakePleActor::pointer self,
                                          std::shared_ptr<Seen> seen) {
  return {
      [=](const PleRows& rows) {
        seen->hanging.front().deliver(rows);
        seen->hanging.pop_front();
      },
      [](const Start&) { return Started{}; },
      [=](const PleRead& read) -> caf::result<PleRows> {
        seen->reads.push_back(read);
        for (int32_t id : read.ids) {
          if (id == kBadRow) {
            return PleRows{absl::DataLossError("row 666 is damaged"), {}};
          }
          if (seen->hanging_rows.count(id) != 0) {
            auto promise = self->make_response_promise<PleRows>();
            seen->hanging.push_back(promise);
            return promise;
          }
        }
        return PleRows{absl::OkStatus(), RowsOfPle(read.ids.size())};
      },
      [](const StatusQuery&) { return PleStatus{}; },
  };
}

FakeClientActor::behavior_type FakeClient(FakeClientActor::pointer self,
                                          SequencerActor sequencer,
                                          std::shared_ptr<Seen> seen) {
  return {
      [=](const Progress& progress) {
        for (const TokenResult& token : progress.tokens) {
          seen->tokens[progress.sequence].push_back(token.id);
        }
      },
      [=](const Ended& ended) {
        ASSERT_EQ(seen->ended.count(ended.sequence), 0u);  // once only
        seen->ended[ended.sequence] = ended;
        seen->end_order.push_back(ended.sequence);
      },
      [=](const Submit& submit) {
        self->request(sequencer, std::chrono::seconds(5), submit)
            .then([seen, id = submit.sequence](const Accepted& accepted) {
              seen->accepted[id] = accepted.status;
              seen->retry_after_ns[id] = accepted.retry_after_ns;
            });
      },
      [=](const Cancel& cancel) { self->send(sequencer, cancel); },
  };
}

}  // namespace lapidary
