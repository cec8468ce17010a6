// lapidary listen: sound that is answered as soon as it ends.
#include <atomic>
#include <chrono>
#include <iostream>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "deploy/cli/command.h"
#include "deploy/cli/generate.h"
#include "deploy/cli/generate_flags.h"
#include "deploy/cli/interrupt.h"
#include "deploy/cli/pcm_source.h"
#include "deploy/cli/prompt_flags.h"
#include "deploy/cli/target.h"
#include "grpcpp/client_context.h"

namespace lapidary::cli {
namespace {

using Clock = std::chrono::steady_clock;
using Stream =
    grpc::ClientReaderWriter<v1::ConverseRequest, v1::ConverseResponse>;

// What happened when, on stderr.
class TimeLine {
 public:
  explicit TimeLine(bool on) : on_(on), began_(Clock::now()) {}

  void Say(absl::string_view what) {
    if (!on_) return;
    std::lock_guard<std::mutex> lock(mutex_);
    const double seconds =
        std::chrono::duration<double>(Clock::now() - began_).count();
    std::cerr << absl::StrFormat("%8.3f s  %s\n", seconds, what);
  }

 private:
  const bool on_;
  const Clock::time_point began_;
  std::mutex mutex_;
};

class ListenCommand : public Command {
 public:
  CommandHelp Help() const override {
    return {
        "listen",
        "streams sound to a model, and its answer back",
        "MODEL|--server=HOST:PORT FILE|- [QUESTION]",
        "Sends the sound piece by piece, a file at the pace at which it is "
        "spoken, and - (standard input, a WAV or with --raw samples alone) as "
        "it comes. The model encodes it meanwhile, and answers as soon as it "
        "ends. QUESTION says what to do with it; without one, "
        "\"Transcribe.\"\n\n"
        "With --turns, the sound is a conversation: each turn ends when the "
        "speaker falls silent, and what is said while the answer comes is not "
        "heard, so it must come no faster than it is spoken. With --server, "
        "the first argument is the sound.",
        {"lapidary listen nano dog.wav \"Translate this to Spanish.\"",
         "arecord -q -f S16_LE -r 16000 -c 1 | lapidary listen nano -",
         "arecord -q -f S16_LE -r 16000 -c 1 | lapidary listen e2b - --turns",
         "lapidary listen --server=127.0.0.1:7421 talk.mp3 --time-line"},
    };
  }

  void DefineFlags(FlagSet* flags) override {
    flags->Section("Sound");
    flags->Choice("raw", {"no", "s16", "f32"},
                  "The sound is samples without a header: 16-bit integers or "
                  "floats, little-endian.",
                  &raw_);
    flags->OptionalInteger("rate",
                           "Of --raw: samples in a second. Without it 16000.",
                           4000, 192000, &rate_);
    flags->OptionalInteger("channels", "Of --raw, interleaved. Without it 1.",
                           1, 8, &channels_);
    flags->Integer("chunk-ms", "Milliseconds of sound in a message.", 10, 10000,
                   &chunk_ms_);
    flags->Switch("at-once", "Send a file as fast as it is taken.", &at_once_);
    flags->Switch("turns", "End turns when the speaker falls silent.", &turns_);
    flags->OptionalInteger("silence-ms",
                           "Of --turns: what silence ends one. Without it 800.",
                           100, 10000, &silence_ms_);
    flags->Switch("question-first",
                  "Ask before the sound, as --turns does: another prompt, and "
                  "perhaps another answer.",
                  &question_first_);
    flags->Switch("early-prefill",
                  "Prefill while the sound comes: the same answer, sooner.",
                  &early_prefill_);
    flags->Switch("omit-padding",
                  "Do not fill sounds up to 30 s as the model's training did: "
                  "a shorter prompt, and perhaps another answer.",
                  &omit_padding_);
    flags->OptionalText("system", "TEXT", "Instructions before the first turn.",
                        &system_);
    generate_.Define(flags);
    flags->Section("Output");
    flags->Switch(
        "time-line",
        "On stderr: when sound went out, its tokens were encoded, and "
        "the answer's first token came.",
        &time_line_);
    flags->Switch("timings", "After the answer, its speed on stderr.",
                  &timings_);
    target_.Define(flags);
  }

  absl::Status Run(const std::vector<std::string>& arguments) override {
    const size_t first = target_.remote() ? 0 : 1;
    if (arguments.size() < first + 1 || arguments.size() > first + 2) {
      return UsageError(
          "a sound is wanted, FILE or -, and before it a MODEL or --server");
    }
    absl::Status together = CheckTogether();
    if (!together.ok()) return together;
    if (arguments.size() == first + 2) question_ = arguments[first + 1];
    absl::Status valid = CheckUtf8(question_, "the question");
    if (!valid.ok()) return valid;
    v1::ConverseRequest start;
    absl::StatusOr<PcmSource> source =
        PcmSource::Open(arguments[first], RawFormat());
    if (!source.ok()) {
      return first > 0 ? source.status()
                       : absl::Status(source.status().code(),
                                      absl::StrCat(source.status().message(),
                                                   " (with --server no MODEL "
                                                   "comes before the sound)"));
    }
    absl::Status filled = FillStart(*source, start.mutable_start());
    if (!filled.ok()) return filled;
    auto connection =
        target_.Connect(first == 0 ? std::string() : arguments[0]);
    if (!connection.ok()) return connection.status();
    start.mutable_start()->mutable_request()->set_model((*connection)->model());
    return Converse(connection->get(), start, &*source);
  }

 private:
  // What would be ignored is refused.
  absl::Status CheckTogether() const {
    const struct {
      const char* flag;
      bool given;
      const char* needs;
      bool there;
    } kPairs[] = {
        {"rate", rate_.has_value(), "--raw=s16 or --raw=f32", raw_ != "no"},
        {"channels", channels_.has_value(), "--raw=s16 or --raw=f32",
         raw_ != "no"},
        {"silence-ms", silence_ms_.has_value(), "--turns", turns_},
    };
    for (const auto& pair : kPairs) {
      if (!pair.given || pair.there) continue;
      return UsageError(absl::StrCat("--", pair.flag, " goes with ", pair.needs,
                                     " only; leave it out, or give that too"));
    }
    return absl::OkStatus();
  }

  std::optional<PcmFormat> RawFormat() const {
    if (raw_ == "no") return std::nullopt;
    PcmFormat format;
    if (raw_ == "f32") format.encoding = PcmFormat::Encoding::kF32;
    format.rate = static_cast<int>(rate_.value_or(kSoundRate));
    format.channels = static_cast<int>(channels_.value_or(1));
    return format;
  }

  absl::Status FillStart(const PcmSource& source, v1::ConverseStart* start) {
    absl::Status applied = generate_.Apply(start->mutable_request());
    if (!applied.ok()) return applied;
    if (system_.has_value()) {
      AddText("system", *system_,
              start->mutable_request()->mutable_prompt()->mutable_chat());
    }
    const PcmFormat& format = source.format();
    v1::PcmFormat* pcm = start->mutable_pcm();
    pcm->set_encoding(format.encoding == PcmFormat::Encoding::kF32
                          ? v1::PcmFormat::ENCODING_F32
                          : v1::PcmFormat::ENCODING_S16);
    pcm->set_rate(format.rate);
    pcm->set_channels(format.channels);
    start->set_early_prefill(early_prefill_);
    start->set_omit_padding(omit_padding_);
    if (turns_) {
      start->mutable_endpointing()->set_silence_ms(
          static_cast<uint32_t>(silence_ms_.value_or(0)));
    }
    return absl::OkStatus();
  }

  absl::Status Converse(Connection* connection,
                        const v1::ConverseRequest& start, PcmSource* source) {
    grpc::ClientContext context;
    CancelOnInterrupt cancel([&context] { context.TryCancel(); });
    TimeLine line(time_line_);
    std::unique_ptr<Stream> stream = connection->stub().Converse(&context);
    std::atomic<bool> turn_begins{false};
    absl::Status status;
    std::thread reader([&] {
      ReadAll(stream.get(), &line, &turn_begins);
      status = FromGrpc(stream->Finish());
      // Within a process a write waits on when the call has ended.
      context.TryCancel();
    });
    absl::Status sent = absl::OkStatus();
    if (stream->Write(start)) {
      sent = SendSound(stream.get(), source, &line, &turn_begins);
    }
    if (!sent.ok()) context.TryCancel();
    stream->WritesDone();
    reader.join();
    if (cancel.interrupted()) return absl::CancelledError("cancelled");
    return sent.ok() ? status : sent;
  }

  // A turn that ends by itself has the question in front: nobody can say when.
  bool SendQuestion(Stream* stream) const {
    v1::ConverseRequest request;
    request.mutable_part()->set_text(question_);
    return stream->Write(request);
  }

  absl::Status SendSound(Stream* stream, PcmSource* source, TimeLine* line,
                         std::atomic<bool>* turn_begins) const {
    const Clock::time_point began = Clock::now();
    double sent = 0;  // seconds
    const bool first = turns_ || question_first_;
    if (first && !SendQuestion(stream)) return absl::OkStatus();
    while (true) {
      absl::StatusOr<std::string> chunk =
          source->Next(static_cast<double>(chunk_ms_) / 1000);
      if (!chunk.ok()) return chunk.status();
      if (chunk->empty()) break;
      const PcmFormat& format = source->format();
      sent += static_cast<double>(chunk->size() / format.frame_bytes()) /
              format.rate;
      // A chunk is there once its last sample has been spoken.
      if (!source->live() && !at_once_) {
        std::this_thread::sleep_until(
            began + std::chrono::duration_cast<Clock::duration>(
                        std::chrono::duration<double>(sent)));
      }
      if (turn_begins->exchange(false) && !SendQuestion(stream)) break;
      v1::ConverseRequest request;
      request.set_pcm(*std::move(chunk));
      if (!stream->Write(request)) return absl::OkStatus();
      line->Say(absl::StrFormat("%.2f s of sound sent", sent));
    }
    if (turns_) return absl::OkStatus();
    if (sent == 0) {
      return absl::InvalidArgumentError(
          "the sound is empty: nothing was recorded");
    }
    v1::ConverseRequest end;
    end.mutable_end_of_turn();
    line->Say("the sound ends");
    if (first || SendQuestion(stream)) stream->Write(end);
    return absl::OkStatus();
  }

  void ReadAll(Stream* stream, TimeLine* line,
               std::atomic<bool>* turn_begins) const {
    v1::ConverseResponse response;
    bool first = true;
    while (stream->Read(&response)) {
      if (response.has_progress()) {
        const v1::SoundProgress& progress = response.progress();
        line->Say(absl::StrFormat(
            "  %.2f s taken, %d tokens encoded, %.2f s wait%s",
            progress.seconds(), progress.tokens(), progress.waiting_seconds(),
            progress.end_of_turn() ? "; the turn ends" : ""));
      } else if (response.has_delta()) {
        if (first) line->Say("    first token of the answer");
        first = false;
        std::cout << response.delta().text() << std::flush;
      } else {
        std::cout << std::endl;
        const v1::TurnDone& done = response.done();
        line->Say(absl::StrFormat(
            "    answered; by the server, the first token came %.0f ms after "
            "the turn's end, %.0f ms of them for sound; %.0f ms of computing "
            "for %.2f s of sound, %d tokens; %d of the prompt's %d were "
            "prefilled before",
            done.first_token_ms(), done.encode_ms(), done.compute_ms(),
            done.sound_seconds(), done.sound_tokens(),
            done.final().usage().cached_prompt_tokens(),
            done.final().usage().prompt_tokens()));
        if (timings_) std::cerr << Summary(done.final()) << "\n";
        first = true;
        *turn_begins = true;
      }
    }
  }

  std::string question_ = "Transcribe.";
  std::string raw_ = "no";
  std::optional<int64_t> rate_, channels_, silence_ms_;
  int64_t chunk_ms_ = 100;
  bool at_once_ = false, turns_ = false, question_first_ = false;
  bool early_prefill_ = false, omit_padding_ = false;
  bool time_line_ = false, timings_ = false;
  std::optional<std::string> system_;
  GenerateFlags generate_;
  Target target_;
};

}  // namespace

std::unique_ptr<Command> MakeListenCommand() {
  return std::make_unique<ListenCommand>();
}

}  // namespace lapidary::cli
